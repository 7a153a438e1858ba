/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * The rest of an exec's arguments, when they need more room than the
 * exec_record has: records of ARGS_NEXT bytes until args_wanted is reached.
 */
#ifndef EXECTRACE_ARGS_H
#define EXECTRACE_ARGS_H

/* 6 MiB, the most that execve(2) lets arguments and environment take, and one. */
#define ARGS_RECORDS ((6u << 20) / ARGS_NEXT + 2)

/*
 * Wakes the reader only with the record that crosses a multiple of so many
 * unread bytes: a wakeup at each record costs more than the rest of the program.
 * Two CPUs that look at the same moment can both miss one crossing; the next
 * multiple comes before the ring is full.
 */
static __always_inline __u64 wakeup(__u64 len)
{
	__u64 unread;

	if (!settings.wakeup_bytes)
		return BPF_RB_FORCE_WAKEUP;
	unread = bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA);
	if (unread / settings.wakeup_bytes != (unread + len) / settings.wakeup_bytes)
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}

static __always_inline void send_more_args(const struct exec_record *record,
					   struct args_scratch *args, struct scope_stats *stats,
					   const char *from)
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
		if (bpf_probe_read_user(args->bytes, len, from + done)) {
			stats->args_fault++;
			args->head.flags |= EXEC_ARGS_FAULT;
			args->head.args_len = 0;
			bpf_ringbuf_output(&records, &args->head, sizeof(args->head),
					   BPF_RB_NO_WAKEUP);
			return;
		}
		size = sizeof(args->head) + len;
		AT_MOST(size, sizeof(*args));
		if (bpf_ringbuf_output(&records, args, size, wakeup(size))) {
			stats->args_ring_full++;
			return;
		}
		*offset = done + len;
	}
}

#endif
