/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * The rest of an exec's arguments, when they need more room than the
 * exec_record has: records of ARGS_NEXT bytes until args_wanted is reached.
 */
#ifndef EXECTRACE_ARGS_H
#define EXECTRACE_ARGS_H

/* 6 MiB, the most that execve(2) lets arguments and environment take, and one. */
#define ARGS_RECORDS ((6u << 20) / ARGS_NEXT + 2)

/* So many at a time: the verifier goes through the rounds of the two loops once
 * each, and not through those of the one times those of the other. */
#define ARGS_AT_ONCE 14

/* Sends a few of them. 1: this was not yet all. */
__noinline int send_few_args(__u32 hook)
{
	struct exec_scratch *scratch = bpf_map_lookup_elem(&exec_scratch, &hook);
	struct args_scratch *args = bpf_map_lookup_elem(&args_scratch, &hook);
	struct scope_budget *budget;
	struct scope_stats *stats;
	enum exec_flag why = 0;
	volatile __u32 *offset;

	if (!scratch || !args || hook >= HOOK_COUNT)
		return 0;
	budget = budget_of(scratch->record.head.scope);
	stats = stats_of(scratch->record.head.scope, hook);
	if (!budget || !stats)
		return 0;
	offset = &args->head.args_offset;
	for (__u32 i = 0; i < ARGS_AT_ONCE; i++) {
		__u32 done = *offset, wanted = scratch->record.args_wanted;
		__u64 len, size;

		if (done >= wanted)
			return 0;
		len = wanted - done;
		AT_MOST(len, ARGS_NEXT);
		args->head.seq = stats->seq++;
		args->head.args_len = len;
		if (room_for(budget) != ROOM_ALL) {
			stats->args_ring_full++;
			why = EXEC_ARGS_TIGHT;
			break;
		}
		if (bpf_probe_read_user(args->bytes, len, (void *)(scratch->args + done))) {
			stats->args_fault++;
			why = EXEC_ARGS_FAULT;
			break;
		}
		size = sizeof(args->head) + len;
		AT_MOST(size, sizeof(*args));
		if (!send(budget, args, size)) {
			stats->args_ring_full++;
			return 0;
		}
		*offset = done + len;
	}
	if (!why)
		return 1;
	/* Tells that no more arguments come, and why. */
	args->head.flags |= why;
	args->head.args_len = 0;
	send(budget, &args->head, sizeof(args->head));
	return 0;
}

/*
 * Sends the rest of what the exec_record of this hook began. Not static and with a
 * number for an argument, so that the verifier checks it once by itself.
 */
__noinline int send_more_args(__u32 hook)
{
	struct exec_scratch *scratch = bpf_map_lookup_elem(&exec_scratch, &hook);
	struct args_scratch *args = bpf_map_lookup_elem(&args_scratch, &hook);

	if (!scratch || !args)
		return 0;
	__builtin_memcpy(&args->head, &scratch->record.head, sizeof(args->head));
	args->head.kind = RECORD_ARGS;
	args->head.args_offset = scratch->record.head.args_len;
	for (__u32 i = 0; i < ARGS_RECORDS / ARGS_AT_ONCE + 1; i++)
		if (!send_few_args(hook))
			break;
	return 0;
}

#endif
