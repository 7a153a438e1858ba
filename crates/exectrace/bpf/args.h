/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * The rest of an exec's arguments, when they need more room than the
 * exec_record has: records of ARGS_NEXT bytes until args_wanted is reached.
 */
#ifndef EXECTRACE_ARGS_H
#define EXECTRACE_ARGS_H

/* 6 MiB, the most that execve(2) lets arguments and environment take, and one. */
#define ARGS_RECORDS ((6u << 20) / ARGS_NEXT + 2)

/* Tells that no more arguments come, and why. */
static __always_inline void end_args(struct args_scratch *args, struct scope_budget *budget,
				     enum exec_flag why)
{
	args->head.flags |= why;
	args->head.args_len = 0;
	send(budget, &args->head, sizeof(args->head));
}

static __always_inline void send_more_args(const struct exec_record *record,
					   struct args_scratch *args, struct scope_stats *stats,
					   struct scope_budget *budget, const char *from)
{
	volatile __u32 *offset = &args->head.args_offset;
	__u32 wanted = record->args_wanted;

	__builtin_memcpy(&args->head, &record->head, sizeof(args->head));
	args->head.kind = RECORD_ARGS;
	*offset = record->head.args_len;
	for (__u32 i = 0; i < ARGS_RECORDS; i++) {
		__u32 done = *offset;
		__u64 len, size;

		if (done >= wanted)
			return;
		len = wanted - done;
		AT_MOST(len, ARGS_NEXT);
		args->head.seq = stats->seq++;
		args->head.args_len = len;
		if (room_for(budget) != ROOM_ALL) {
			stats->args_ring_full++;
			end_args(args, budget, EXEC_ARGS_TIGHT);
			return;
		}
		if (bpf_probe_read_user(args->bytes, len, from + done)) {
			stats->args_fault++;
			end_args(args, budget, EXEC_ARGS_FAULT);
			return;
		}
		size = sizeof(args->head) + len;
		AT_MOST(size, sizeof(*args));
		if (!send(budget, args, size)) {
			stats->args_ring_full++;
			return;
		}
		*offset = done + len;
	}
}

#endif
