// Message passing between host and device with plain loads and stores: payload, then flag.
#include "common.h"

WORKGROUP(256, 1, 1) kernel void publish(global u32 *payload, volatile global atomic_uint *flag, u32 value) {
  u32 item = LINEAR_ID(256);
  payload[item] = value + item;
  // The barrier orders the workgroup's stores before the one release store; scopes include each other (HSA memory model).
  workgroup_barrier();
  if (__builtin_amdgcn_workitem_id_x() == 0)
    __opencl_atomic_store(&flag[__builtin_amdgcn_workgroup_id_x()], value, memory_order_release, SYSTEM_SCOPE);
}

// The first work-item polls, at most max_polls times, and the workgroup reads the payload only if the flag was seen.
// saw[item] is 1 if it was, 2 if the polls ran out.
WORKGROUP(256, 1, 1)
kernel void spin_on_flag(volatile global atomic_uint *flag, global const u32 *payload, global u32 *out, global u32 *saw,
                         u32 expected, u32 max_polls) {
  local u32 found[1];
  u32 item = LINEAR_ID(256);
  if (__builtin_amdgcn_workitem_id_x() == 0) {
    u32 seen = 0;
    for (u32 poll = 0; poll != max_polls && !seen; ++poll) {
      seen = __opencl_atomic_load(flag, memory_order_relaxed, SYSTEM_SCOPE) == expected;
      if (!seen)
        __builtin_amdgcn_s_sleep(1);
    }
    found[0] = seen;
  }
  workgroup_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "");
  if (found[0]) {
    out[item] = payload[item];
    saw[item] = 1;
  } else {
    saw[item] = 2;
  }
}
