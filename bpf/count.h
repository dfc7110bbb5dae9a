/* SPDX-License-Identifier: MIT */
/* Counters per route, and, for the routes below ROUTE_CLIENTS, per LAN client and route. Per CPU: no atomics, no sharing. */

static __always_inline void add(struct count *c, u32 bytes, bool new_flow)
{
	c->packets++;
	c->bytes += bytes;
	c->flows += new_flow;
}

static __always_inline void count(u32 route, u32 bytes, bool new_flow)
{
	struct count *total = totals.lookup(&route);

	if (total)
		add(total, bytes, new_flow);
}

static __always_inline void count_client(const struct addr *client, u32 route, u32 bytes,
					 bool new_flow)
{
	struct addr key = *client;
	struct client_counts *mine;

	count(route, bytes, new_flow);
	if (route >= ROUTE_CLIENTS)
		return;
	mine = client_stats.lookup(&key);
	if (!mine) {
		struct client_counts zero = {};

		client_stats.update(&key, &zero);
		mine = client_stats.lookup(&key);
		if (!mine)
			return;
	}
	mine->seen_ns = bpf_ktime_get_coarse_ns();
	asm volatile("" : "+r"(route)); /* the verifier wants to see the bound, not to infer it */
	add(&mine->routes[route & (ROUTE_CLIENTS - 1)], bytes, new_flow);
}
