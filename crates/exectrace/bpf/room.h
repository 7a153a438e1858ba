/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * Room in the ring: who may still take how much of it, and when the reader is
 * woken.
 *
 * A scope may hold unread records up to a multiple of what is still free (the
 * dynamic thresholds of switch buffers, Choudhury and Hahne 1998). So one that
 * floods alone may fill nearly all of the ring, several share it, and there is
 * always some left for a scope that was quiet so far, without a number of scopes
 * being told. Of three multiples the smallest ends whole arguments, the next ends
 * strings, the last ends records. What happened survives longest.
 */
#ifndef EXECTRACE_ROOM_H
#define EXECTRACE_ROOM_H

#define WHOLE_ARGS_AT_MOST 2 /* times what is free: 2/3 of the ring for one scope alone */
#define STRINGS_AT_MOST	   4 /* 4/5 */
#define RECORDS_AT_MOST	   9 /* 9/10; one scope that has no neighbours takes it all */

enum room {
	ROOM_NONE, /* not even for the smallest record */
	ROOM_FIXED, /* for what has a fixed length */
	ROOM_STRINGS, /* for strings, and arguments up to ARGS_TIGHT */
	ROOM_ALL,
};

static __always_inline struct scope_stats *stats_of(__u32 scope, enum hook hook)
{
	__u32 row = scope * HOOK_COUNT + hook;

	return bpf_map_lookup_elem(&stats, &row);
}

static __always_inline struct scope_budget *budget_of(__u32 scope)
{
	return bpf_map_lookup_elem(&budgets, &scope);
}

static __always_inline enum room room_for(const struct scope_budget *budget)
{
	__u64 unread = bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA);
	__u64 free;
	__s64 held = *(volatile __u64 *)&budget->sent - *(volatile __u64 *)&budget->freed;

	/* The two positions are not read at one moment. */
	if (unread > settings.ring_bytes)
		unread = settings.ring_bytes;
	free = settings.ring_bytes - unread;
	/* The reader may be done with a record before it is counted as sent. */
	if (held < 0)
		held = 0;
	if (unread + sizeof(struct exec_record) + 64 > settings.ring_bytes)
		return ROOM_NONE;
	if ((__u64)held <= free * WHOLE_ARGS_AT_MOST)
		return ROOM_ALL;
	if ((__u64)held <= free * STRINGS_AT_MOST)
		return ROOM_STRINGS;
	if ((__u64)held <= free * RECORDS_AT_MOST || scope_index.scopes <= 1)
		return ROOM_FIXED;
	return ROOM_NONE;
}

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

/* What a record takes in the ring: rounded up to eight bytes, with the kernel's
 * header of eight (BPF_RINGBUF_HDR_SZ). The reader reckons the same. */
static __always_inline __u64 bytes_in_ring(__u64 len)
{
	return (len + 7 + 8) & ~7ULL;
}

/* False: there was no room. */
static __always_inline bool send(struct scope_budget *budget, void *record, __u64 len)
{
	if (bpf_ringbuf_output(&records, record, len, wakeup(len)))
		return false;
	__sync_fetch_and_add(&budget->sent, bytes_in_ring(len));
	return true;
}

#endif
