/* SPDX-License-Identifier: MIT */
/*
 * What is known about a destination: ours, never steered, or decided by user space.
 * No rule lives here: verdicts are cached decisions of the one rule engine, and each key holds
 * exactly the fields its decision depended on.
 */

/* Multicast, broadcast, loopback, link-local and "this host": no configuration steers these. */
static __always_inline bool is_unroutable(const struct addr *a)
{
	u8 first, second;

	if (is_v4(a)) {
		u32 ip = ip4_of(a);

		return ip >= 0xe0000000 || ip >> 24 == 127 || ip >> 24 == 0 || ip >> 16 == 0xa9fe;
	}
	first = ((const u8 *)&a->hi)[0];
	second = ((const u8 *)&a->hi)[1];
	if (first == 0xff || (first == 0xfe && (second & 0xc0) == 0x80))
		return true;
	return a->hi == 0 && ntohl((u32)a->lo) == 0; /* ::/96: ::, ::1 and the like */
}

/*
 * Private and special ranges (RFC 1918, 6598, 6890, 4193), passed unless FLAG_PRIVATE. The
 * documentation and benchmark ranges (RFC 5737, 3849, 2544) are steered: no one meets them
 * outside a test network, where they stand for the internet.
 */
static __always_inline bool is_private(const struct addr *a)
{
	if (is_v4(a)) {
		u32 ip = ip4_of(a);

		return ip >> 24 == 10 || ip >> 20 == 0xac1 || ip >> 16 == 0xc0a8 ||
		       ip >> 22 == 0x191 || ip >> 8 == 0xc00000;
	}
	return (((const u8 *)&a->hi)[0] & 0xfe) == 0xfc;
}

static __always_inline bool is_never_steered(const struct settings *set, const struct addr *dst)
{
	return is_unroutable(dst) || (!(set->flags & FLAG_PRIVATE) && is_private(dst));
}

/* The bypass list's or the rules' own answer for a whole range, else VERDICT_UNKNOWN. */
static __always_inline u32 prefix_verdict(const struct settings *set, const struct addr *dst,
					  bool *bypassed)
{
	struct prefix key = { .length = 128, .addr = *dst };
	struct prefix_verdict *found = prefixes.lookup(&key);

	*bypassed = false;
	if (!found)
		return VERDICT_UNKNOWN;
	if (found->generation == 0) {
		*bypassed = true;
		return VERDICT_DIRECT;
	}
	if (!(set->flags & FLAG_CACHE) || found->generation != set->generation)
		return VERDICT_UNKNOWN;
	return found->verdict;
}

/* The verdict user space left for flows like this one. `known`: the fields the caller can fill. */
static __always_inline u32 cached_verdict(const struct settings *set, const struct packet *p,
					  u32 known)
{
	if (!(set->flags & FLAG_CACHE))
		return VERDICT_UNKNOWN;
#pragma unroll
	for (int i = 0; i < MAX_MASKS; i++) {
		struct verdict_key key = {};
		struct verdict_value *found;
		u32 mask = set->masks[i];

		if (!mask)
			break;
		if (mask & ~known)
			continue;
		key.mask = mask;
		if (mask & FIELD_SRC_ADDR)
			key.src = p->src;
		if (mask & FIELD_DST_ADDR)
			key.dst = p->dst;
		if (mask & FIELD_SRC_PORT)
			key.sport = p->sport;
		if (mask & FIELD_DST_PORT)
			key.dport = p->dport;
		if (mask & FIELD_NETWORK)
			key.network = p->network;
		found = verdicts.lookup(&key);
		if (found && found->epoch == set->epoch)
			return found->verdict;
	}
	return VERDICT_UNKNOWN;
}
