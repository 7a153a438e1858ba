/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * Markers in the environment, by which programs are known that start others:
 * which variable an AI coding agent sets, for one. The environment is looked at
 * here, and nothing of it leaves but the number of the marker that was found.
 *
 * It is looked at when a program is executed that the tracer has named, as long as
 * the process has no marker yet. Its children inherit the marker in the table of
 * processes, whatever their own environment has.
 */
#ifndef EXECTRACE_ENV_H
#define EXECTRACE_ENV_H

/* Strings of one environment that are looked at, and so many at a time, as in
 * ARGS_AT_ONCE. A string that does not fit into args_scratch counts as several. */
#define ENV_STRINGS 256
#define ENV_AT_ONCE 16

static __always_inline bool begins_marker(unsigned char byte)
{
	return settings.env_first[byte >> 5] >> (byte & 31) & 1;
}

/* Looks at a few strings. 1: there may be more. */
__noinline int look_at_few(__u32 hook)
{
	struct env_scratch *env = bpf_map_lookup_elem(&env_scratch, &hook);
	/* No arguments lie there yet. */
	struct args_scratch *text = bpf_map_lookup_elem(&args_scratch, &hook);

	if (!env || !text)
		return 0;
	for (__u32 i = 0; i < ENV_AT_ONCE; i++) {
		__u64 at = *(volatile __u64 *)&env->at;
		__u32 inside = *(volatile __u32 *)&env->inside, *marker;
		long got;

		if (at >= env->end)
			return 0;
		got = bpf_probe_read_user_str(text->bytes, sizeof(text->bytes), (void *)at);
		if (got <= 0) {
			env->flags |= EXEC_ENV_FAULT;
			return 0;
		}
		env->inside = got == sizeof(text->bytes);
		/* Where a string was cut a NUL stands for a byte that comes next. */
		*(volatile __u64 *)&env->at = env->inside ? at + got - 1 : at + got;
		if (inside || !begins_marker(text->bytes[0]))
			continue;
		__builtin_memcpy(env->key.text, text->bytes, sizeof(env->key.text));
		marker = bpf_map_lookup_elem(&env_markers, &env->key);
		if (marker) {
			env->marker = *marker;
			return 0;
		}
	}
	return 1;
}

/*
 * Looks for a marker in the memory that env_scratch names. Lower half: 1 + its number,
 * 0 if there is none; upper half: flags for the record. Not static and with a number
 * for an argument, so that the verifier checks it once by itself.
 */
__noinline __u64 find_marker(__u32 hook)
{
	struct env_scratch *env = bpf_map_lookup_elem(&env_scratch, &hook);
	int more = 1;

	if (!env)
		return 0;
	env->key.bits = MARKER_LEN * 8;
	env->marker = 0;
	env->flags = 0;
	env->inside = 0;
	for (__u32 i = 0; i < ENV_STRINGS / ENV_AT_ONCE && more; i++)
		more = look_at_few(hook);
	if (more && *(volatile __u64 *)&env->at < env->end)
		env->flags |= EXEC_ENV_LIMITED;
	return (__u64)env->flags << 32 | env->marker;
}

/* Whether the environment of what runs this file is looked at. */
static __always_inline bool is_env_program(struct dentry *dentry)
{
	struct program_name name = {};

	/* A longer name is not one of ours that it begins with. */
	if ((__u32)FOLLOW(dentry, d_name.len) >= sizeof(name.bytes))
		return false;
	if (bpf_probe_read_kernel_str(name.bytes, sizeof(name.bytes),
				      FOLLOW(dentry, d_name.name)) <= 0)
		return false;
	return bpf_map_lookup_elem(&env_programs, &name);
}

/* The marker of a process that execs, in the form of find_marker. It is kept in the
 * process's row, if it has one. */
static __always_inline __u64 marker_of(struct task_struct *task, struct linux_binprm *bprm,
				       enum hook hook, struct process *process)
{
	__u32 row = hook;
	struct env_scratch *env;
	__u64 found;

	if (!settings.env_markers)
		return 0;
	if (process && process->env_marker)
		return process->env_marker;
	if (!is_env_program(bprm->file->f_path.dentry))
		return 0;
	env = bpf_map_lookup_elem(&env_scratch, &row);
	if (!env)
		return 0;
	env->at = task->mm->env_start;
	env->end = task->mm->env_end;
	found = find_marker(hook);
	if (process)
		process->env_marker = found;
	return found;
}

#endif
