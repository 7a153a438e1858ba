/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * Following pointers of the kernel's that the verifier does not know: those that
 * were read as plain numbers, kept in a map, or reckoned out.
 *
 * A probe read is a call for each member, some 15 ns. Where the kernel has
 * bpf_rdonly_cast (from 6.2 on; settings.casts), the verifier can be told the type,
 * and a member is one load, which yields 0 if the pointer is bad. What hangs on the
 * arguments of the programs the verifier knows by itself; KNOWN says why it is told
 * all the same.
 */
#ifndef EXECTRACE_FOLLOW_H
#define EXECTRACE_FOLLOW_H

extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym __weak;

/*
 * The numbers come from the tracer, because CO-RE refuses to give one where the
 * kernel's type information has a type twice, as that of some kernels has.
 */
/* clang-format off */
#define TYPE_OF(pointer)                                              \
	_Generic((pointer),                                           \
		struct task_struct *: settings.types.task_struct,     \
		struct linux_binprm *: settings.types.linux_binprm,   \
		struct pid *: settings.types.pid,                     \
		struct pid_namespace *: settings.types.pid_namespace, \
		struct cgroup *: settings.types.cgroup,               \
		struct dentry *: settings.types.dentry,               \
		struct vfsmount *: settings.types.vfsmount,           \
		struct mount *: settings.types.mount)
/* clang-format on */

#define CAST(pointer) ((typeof(pointer))bpf_rdonly_cast((pointer), TYPE_OF(pointer)))

/* FOLLOW(pointer, a, b) is pointer->a->b. */
#define FOLLOW(pointer, ...)                                   \
	(settings.casts ? ___arrow(CAST(pointer), __VA_ARGS__) \
			: BPF_CORE_READ((pointer), __VA_ARGS__))

/*
 * An argument of a program, of which the verifier knows the type anyway. From 6.3 on
 * it also knows which members of it may be trusted, and to find out it searches the
 * names of all the kernel's types at each member that is a pointer: that took 250 ms
 * of the 330 ms of a load. A type that it was told is not trusted, so not searched for.
 */
#define KNOWN(pointer) (settings.casts ? CAST(pointer) : (pointer))

/* What a task is called in the PID namespace so many levels below the initial one. */
static __always_inline long read_upid(struct upid *upid, const struct pid *pid, __u32 level)
{
	return bpf_probe_read_kernel(upid, sizeof(*upid),
				     (void *)pid + bpf_core_field_offset(struct pid, numbers) +
					     (level & 63) * sizeof(*upid));
}

#endif
