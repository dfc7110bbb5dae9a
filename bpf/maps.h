/* SPDX-License-Identifier: MIT */
/*
 * Every map of the datapath. All are pinned by the loader; user space writes settings, own,
 * prefixes, clients, macs, lan, verdicts and listeners, the programs write the rest.
 */

BPF_TABLE("array", u32, struct settings, settings, 1);

/* Addresses (and subnet broadcasts) of this host: never steered, in neither program. */
BPF_TABLE("hash", struct addr, u8, own, 4096);

/* Longest match over the bypass list, on-link LAN ranges, and the rules' static verdicts. */
BPF_F_TABLE("lpm_trie", struct prefix, struct prefix_verdict, prefixes, 131072, BPF_F_NO_PREALLOC);

BPF_F_TABLE("lpm_trie", struct prefix, u8, clients, 4096, BPF_F_NO_PREALLOC);
BPF_TABLE("hash", struct mac, u8, macs, 1024);

/* Interfaces whose arriving packets may meet our listeners. */
BPF_TABLE("hash", u32, u8, lan, 256);

BPF_TABLE("lru_hash", struct verdict_key, struct verdict_value, verdicts, 65536);

/*
 * Flows the kernel forwards, by the LAN client's view, and when they were last seen (ns): UDP, and
 * the rare TCP flow whose 4-tuple a TIME_WAIT socket of ours holds as well.
 */
BPF_TABLE("lru_hash", struct flow_key, u64, flows, 65536);

/* Flows that were given to the relay, and when last (ns); see claim(). */
BPF_TABLE("lru_hash", struct flow_key, u64, claimed, 65536);

/*
 * When the last TCP flow was claimed, or a worker last had one (ns): spares the kernel's flows all
 * look-ups while the relay has none.
 */
BPF_TABLE("array", u32, u64, claims, 1);

BPF_TABLE("lru_hash", struct fragment_key, struct fragment_value, fragments, 4096);

BPF_TABLE("percpu_array", u32, struct count, totals, ROUTE_MAX);
BPF_TABLE("lru_percpu_hash", struct addr, struct client_counts, client_stats, 2048);

/* What each worker publishes of itself: name and worker -> value. Programs do not touch it. */
struct stat_key {
	char name[124]; /* proxies are named at length, and in any script */
	u32 worker;
};
BPF_TABLE("hash", struct stat_key, u64, worker_stats, 4096);

/*
 * Set while the classifier looks for the socket that holds a flow. The look-up goes on to listeners,
 * which it has no use for, and so to pick_listener, on this CPU and before it returns.
 */
BPF_TABLE("percpu_array", u32, u32, probing, 1);

/*
 * Listening sockets, by worker, protocol and family (slot_of). bcc's BPF_SOCKMAP has no lookup
 * member, so the table is declared by hand.
 */
struct listeners_t {
	u32 key;
	int leaf;
	struct bpf_sock *(*lookup)(u32 *);
	u32 max_entries;
};
__attribute__((section("maps/sockmap"))) struct listeners_t listeners = {
	.max_entries = MAX_WORKERS * 4,
};

static __always_inline u32 slot_of(u32 worker, u8 network, bool v6)
{
	return worker * 4 + (network == IPPROTO_UDP ? 1 : 0) + (v6 ? 2 : 0);
}

static __always_inline struct settings *get_settings(void)
{
	u32 zero = 0;

	return settings.lookup(&zero);
}

/* The worker of a client's port: the same for every destination, as full-cone UDP needs it. */
static __always_inline u32 worker_of(const struct settings *set, u64 client, u16 port)
{
	u64 mixed = (client ^ port) * 0x9e3779b97f4a7c15ULL;

	if (set->workers <= 1)
		return 0;
	return (u32)(mixed >> 32) % set->workers;
}

/*
 * The socket that takes a new flow, or NULL when nobody listens. The caller releases it.
 * A worker that is down is stood in for by the first that is not.
 */
static __always_inline struct bpf_sock *find_listener(const struct settings *set, u64 client,
						      u16 port, u8 network, bool v6)
{
	u32 slot = slot_of(worker_of(set, client, port), network, v6);
	struct bpf_sock *sk = listeners.lookup(&slot);

	if (sk || set->workers <= 1)
		return sk;
#pragma unroll
	for (u32 worker = 0; worker < MAX_WORKERS; worker++) {
		slot = slot_of(worker, network, v6);
		if (worker >= set->workers)
			return NULL;
		sk = listeners.lookup(&slot);
		if (sk)
			return sk;
	}
	return NULL;
}
