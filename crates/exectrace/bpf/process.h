/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * The table of processes: who was logged last up the line, and which tree a
 * process belongs to. It follows forks, so that neither setsid nor a double
 * fork nor the death of the parent cuts the line.
 */
#ifndef EXECTRACE_PROCESS_H
#define EXECTRACE_PROCESS_H

/* Parents that are looked at for a process that ought to have a row. */
#define ANCESTORS 8

/*
 * Makes a row of the current process if the tracer claimed it for a tree. The
 * row stands before the claim goes, so that two threads of the process that
 * come here at once both find one of them. Not static and with a number for an
 * argument, so that the verifier checks it once by itself.
 */
__noinline int redeem_claim(__u32 seen_exec)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct *leader = FOLLOW(task, group_leader);
	struct pid *pid = FOLLOW(leader, thread_pid);
	struct process fresh = { .seen_exec = seen_exec }, *known;
	__u32 own = FOLLOW(pid, level), tgid = FOLLOW(task, tgid), *tree;

	fresh.start = FOLLOW(leader, start_boottime);
	for (__u32 i = 0; i <= MAX_PID_NS_LEVEL; i++) {
		struct upid upid;

		if (i > own)
			break;
		if (read_upid(&upid, pid, i))
			break;
		if (FOLLOW(upid.ns, ns.inum) != scope_index.claim_pid_ns)
			continue;
		tree = bpf_map_lookup_elem(&tree_claims, &upid.nr);
		if (!tree)
			break;
		fresh.tree = *tree;
		known = bpf_map_lookup_elem(&processes, &tgid);
		if (known && known->start == fresh.start)
			known->tree = fresh.tree;
		else if (bpf_map_update_elem(&processes, &tgid, &fresh, BPF_ANY))
			break;
		if (!bpf_map_delete_elem(&tree_claims, &upid.nr))
			__sync_fetch_and_add(&scope_index.claims, -1);
		break;
	}
	return 0;
}

static __always_inline struct process *known_process(struct task_struct *task)
{
	__u32 tgid = task->tgid;
	struct process *process = bpf_map_lookup_elem(&processes, &tgid);

	if (!process || process->start != task->group_leader->start_boottime)
		return NULL;
	return process;
}

/* The row of the current process itself, not of an earlier one with its pid. A
 * row that is made here begins with the execs up to seen_exec accounted for. */
static __always_inline struct process *process_of(struct task_struct *task, __u32 seen_exec)
{
	if (scope_index.claims)
		redeem_claim(seen_exec);
	return known_process(task);
}

/*
 * Tree of a process without a row, by its living ancestors. It should have one:
 * either the table is full, or the kernel skipped the program at its fork, as it
 * can from 7.0 on. A process that belongs to no tree pays for this walk, but
 * only while there are trees.
 */
static __always_inline __u32 tree_above(struct task_struct *task)
{
	for (int i = 0; i < ANCESTORS; i++) {
		struct process *process;

		task = task->real_parent;
		process = known_process(task);
		if (process)
			return process->tree;
	}
	return 0;
}

/* The row of the current process, made now if it has none; NULL: the table is full. */
static __always_inline struct process *enlist(struct task_struct *task, __u32 seen_exec, __u32 tree)
{
	struct process *process = process_of(task, seen_exec);
	struct process fresh = { .seen_exec = seen_exec, .tree = tree };
	__u32 tgid = task->tgid;

	if (process)
		return process;
	fresh.start = task->group_leader->start_boottime;
	/* It should have had a row since it was forked, with an ancestor that was logged. */
	fresh.orphan = tree || scope_index.forks_missed;
	if (bpf_map_update_elem(&processes, &tgid, &fresh, BPF_ANY))
		return NULL;
	return known_process(task);
}

#endif
