// Plain loads and stores: nothing here needs a PCIe AtomicOp.
#include "common.h"

WORKGROUP(64, 1, 1) kernel void nop(void) {}

// The founding kernel: one 32-bit element per work-item.
WORKGROUP(256, 1, 1) kernel void vector_copy(global const u32 *source, global u32 *destination) {
  u32 item = LINEAR_ID(256);
  destination[item] = source[item];
}

// One link of a chain of packets: what arrives at the end counts the links that ran in order.
WORKGROUP(64, 1, 1) kernel void relay(global const u32 *from, global u32 *to) {
  u32 item = LINEAR_ID(64);
  to[item] = from[item] + 1;
}

// Each packet owns one cell, so a plain increment shows a packet that ran twice as well as one that did not run.
WORKGROUP(64, 1, 1) kernel void mark(volatile global u32 *cells, u32 index) {
  if (LINEAR_ID(64) == 0)
    cells[index] = cells[index] + 1;
}

// Global ids of a three-dimensional grid whose last workgroups may be partial: x | y << 10 | z << 20.
WORKGROUP(8, 4, 2) kernel void ids_3d(global u32 *out, u32 size_x, u32 size_y) {
  u32 x = __builtin_amdgcn_workgroup_id_x() * 8 + __builtin_amdgcn_workitem_id_x();
  u32 y = __builtin_amdgcn_workgroup_id_y() * 4 + __builtin_amdgcn_workitem_id_y();
  u32 z = __builtin_amdgcn_workgroup_id_z() * 2 + __builtin_amdgcn_workitem_id_z();
  out[(z * size_y + y) * size_x + x] = x | y << 10 | z << 20;
}

// Sum of 256 elements through LDS: out[workgroup].
WORKGROUP(256, 1, 1) kernel void lds_reduce(global const u32 *in, global u32 *out) {
  local u32 partial[256];
  u32 lane = __builtin_amdgcn_workitem_id_x();
  partial[lane] = in[LINEAR_ID(256)];
  for (u32 stride = 128; stride != 0; stride >>= 1) {
    workgroup_barrier();
    if (lane < stride)
      partial[lane] += partial[lane + stride];
  }
  if (lane == 0)
    out[__builtin_amdgcn_workgroup_id_x()] = partial[0];
}
