// One code object per target holds every kernel.
#include "copy.cl"
#include "atomics.cl"
#include "litmus.cl"
