// Contended read-modify-write operations at system scope. FetchAdd, Swap and CAS are the three AtomicOps of PCIe (PCIe 6.15).
// Every kernel ends with a plain store per work-item, which tells atomics that were lost from a kernel that did not run.
#include "common.h"

#define FETCH_ADD(bits, word, atomic)                                                                                          \
  WORKGROUP(64, 1, 1) kernel void fetch_add_##bits(volatile global atomic *counter, global u32 *ran, u32 rounds) {             \
    for (u32 round = 0; round != rounds; ++round)                                                                              \
      __opencl_atomic_fetch_add(counter, (word)1, memory_order_relaxed, SYSTEM_SCOPE);                                         \
    ran[LINEAR_ID(64)] = rounds;                                                                                               \
  }
FETCH_ADD(32, u32, atomic_uint)
FETCH_ADD(64, u64, atomic_ulong)

// Each token goes in once; what came out and what is left must be the same set.
#define SWAP(bits, word, atomic)                                                                                               \
  WORKGROUP(64, 1, 1) kernel void swap_##bits(volatile global atomic *cell, global word *seen, word first_token, u32 rounds) { \
    u32 base = LINEAR_ID(64) * rounds;                                                                                         \
    for (u32 round = 0; round != rounds; ++round)                                                                              \
      seen[base + round] =                                                                                                     \
          __opencl_atomic_exchange(cell, first_token + base + round, memory_order_relaxed, SYSTEM_SCOPE);                      \
  }
SWAP(32, u32, atomic_uint)
SWAP(64, u64, atomic_ulong)

// Counts up by CAS; ran[item] is the number of increments that succeeded. The expected value always comes from a plain load:
// a dropped CAS returns all ones, and trusting that as the next expected value would make the next dropped CAS look like a success.
#define COMPARE_SWAP(bits, word, atomic)                                                                                       \
  WORKGROUP(64, 1, 1)                                                                                                          \
  kernel void compare_swap_##bits(volatile global atomic *counter, global u32 *ran, u32 rounds, u32 max_attempts) {            \
    u32 done = 0;                                                                                                              \
    for (u32 attempt = 0; attempt != max_attempts && done != rounds; ++attempt) {                                              \
      word expected = __opencl_atomic_load(counter, memory_order_relaxed, SYSTEM_SCOPE);                                       \
      if (__opencl_atomic_compare_exchange_strong(counter, &expected, expected + 1, memory_order_relaxed,                      \
                                                  memory_order_relaxed, SYSTEM_SCOPE))                                         \
        ++done;                                                                                                                \
    }                                                                                                                          \
    ran[LINEAR_ID(64)] = done;                                                                                                 \
  }
COMPARE_SWAP(32, u32, atomic_uint)
COMPARE_SWAP(64, u64, atomic_ulong)

// The operations PCIe has no AtomicOp for, one cell each. At system scope compilers replace some of them by CAS loops; agent
// scope keeps the native instruction, and to host memory that instruction still has to cross the link.
#define RMW_OTHER(bits, word, sword, atomic, satomic)                                                                          \
  WORKGROUP(64, 1, 1) kernel void rmw_other_##bits(volatile global atomic *cells, global u32 *ran) {                           \
    u32 item = LINEAR_ID(64);                                                                                                  \
    word bit = (word)1 << (item % 24);                                                                                         \
    word top = (word)1 << (bits - 1);                                                                                          \
    sword step = (sword)item * 7;                                                                                              \
    volatile global satomic *signed_cells = (volatile global satomic *)cells;                                                  \
    __opencl_atomic_fetch_and(&cells[0], ~bit, memory_order_relaxed, AGENT_SCOPE);                                             \
    __opencl_atomic_fetch_or(&cells[1], bit, memory_order_relaxed, AGENT_SCOPE);                                               \
    __opencl_atomic_fetch_xor(&cells[2], (word)(item + 1) * (word)0x9e3779b97f4a7c15, memory_order_relaxed, AGENT_SCOPE);      \
    __opencl_atomic_fetch_min(&signed_cells[3], step - 300, memory_order_relaxed, AGENT_SCOPE);                                \
    __opencl_atomic_fetch_max(&signed_cells[4], 300 - step, memory_order_relaxed, AGENT_SCOPE);                                \
    __opencl_atomic_fetch_min(&cells[5], top + item, memory_order_relaxed, AGENT_SCOPE);                                       \
    __opencl_atomic_fetch_max(&cells[6], top - item, memory_order_relaxed, AGENT_SCOPE);                                       \
    ran[item] = 1;                                                                                                             \
  }
RMW_OTHER(32, u32, int, atomic_uint, atomic_int)
RMW_OTHER(64, u64, long, atomic_ulong, atomic_long)

// What a kernel does to an HSA signal: subtract from its 64-bit value.
WORKGROUP(64, 1, 1) kernel void signal_subtract(volatile global atomic_ulong *value, global u32 *ran, u64 amount) {
  __opencl_atomic_fetch_sub(value, amount, memory_order_release, SYSTEM_SCOPE);
  ran[LINEAR_ID(64)] = 1;
}
