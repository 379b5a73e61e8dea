// Shared by all kernels. No device libraries and no implicit arguments: each kernel requires its workgroup size, so that ids
// come from the hardware's registers alone and the kernel argument segment holds the explicit arguments only.
#pragma once

typedef uint u32;
typedef ulong u64;

#define SYSTEM_SCOPE memory_scope_all_svm_devices
#define AGENT_SCOPE memory_scope_device
#define WORKGROUP(x, y, z) __attribute__((reqd_work_group_size(x, y, z)))

// Index of the work-item in a one-dimensional grid of workgroups of `size`.
#define LINEAR_ID(size) (__builtin_amdgcn_workgroup_id_x() * (size) + __builtin_amdgcn_workitem_id_x())

static inline __attribute__((always_inline)) void workgroup_barrier(void) {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
