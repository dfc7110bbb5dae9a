/* SPDX-License-Identifier: MIT */
/*
 * tc clsact on every LAN interface. Ingress decides each packet's route and marks what goes to the
 * relay; the policy rule `fwmark MARK iif LAN` does the rest. Egress only counts.
 *
 * TC_ACT_UNSPEC lets filters of others on the same hook have their say after us.
 */

#define FLOW_NS (180LL * 1000000000) /* as conntrack keeps an assured UDP flow; > TIME_WAIT */
#define FLOW_TOUCH_NS 1000000000LL
#define UDP_CLAIM_NS (2LL * 1000000000) /* longer than the relay needs to connect a socket */
#define CLAIM_NS (180LL * 1000000000) /* longer than a SYN cookie, or a peer's last retransmission */
#define CLAIM_TOUCH_NS 1000000000LL
#define FRAGMENT_NS (30LL * 1000000000) /* the reassembly timeout of Linux */

/* Whether a socket of this host holds the 4-tuple: 0 none, 1 live, 2 only TIME_WAIT. */
#define HELD_NOT 0
#define HELD_LIVE 1
#define HELD_TIME_WAIT 2

static __always_inline void tuple_of(const struct packet *p, struct bpf_sock_tuple *tuple)
{
	if (p->v6) {
		__builtin_memcpy(tuple->ipv6.saddr, &p->src, 16);
		__builtin_memcpy(tuple->ipv6.daddr, &p->dst, 16);
		tuple->ipv6.sport = p->sport;
		tuple->ipv6.dport = p->dport;
		return;
	}
	tuple->ipv4.saddr = htonl(ip4_of(&p->src));
	tuple->ipv4.daddr = htonl(ip4_of(&p->dst));
	tuple->ipv4.sport = p->sport;
	tuple->ipv4.dport = p->dport;
}

static __always_inline int held_tcp(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_sock_tuple tuple = {};
	u32 zero = 0, *probe = probing.lookup(&zero);
	int held = HELD_LIVE;
	struct bpf_sock *sk;

	if (!probe)
		return HELD_NOT;
	tuple_of(p, &tuple);
	*probe = 1;
	if (p->v6)
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	*probe = 0;
	if (!sk)
		return HELD_NOT;
	if (sk->state == BPF_TCP_LISTEN)
		held = HELD_NOT;
	else if (sk->state == BPF_TCP_TIME_WAIT)
		held = HELD_TIME_WAIT;
	bpf_sk_release(sk);
	return held;
}

/* Whether the socket is connected to the sender of the packet. */
static __always_inline bool is_peer(const struct bpf_sock *sk, const struct packet *p)
{
	struct addr peer;

	if (p->v6) {
		peer.hi = (u64)sk->dst_ip6[1] << 32 | sk->dst_ip6[0];
		peer.lo = (u64)sk->dst_ip6[3] << 32 | sk->dst_ip6[2];
	} else {
		peer = mapped(sk->dst_ip4);
	}
	return sk->dst_port == p->sport && peer.hi == p->src.hi && peer.lo == p->src.lo;
}

/*
 * The relay connects a socket per UDP flow; an unconnected one belongs to somebody else. One that
 * the relay connects during the look-up is found while it is anybody's, and connected to another
 * client when it is looked at.
 */
static __always_inline bool held_udp(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_sock_tuple tuple = {};
	u32 zero = 0, *probe = probing.lookup(&zero);
	struct bpf_sock *sk;
	bool held;

	if (!probe)
		return false;
	tuple_of(p, &tuple);
	*probe = 1;
	if (p->v6)
		sk = bpf_sk_lookup_udp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_udp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	*probe = 0;
	if (!sk)
		return false;
	held = sk->state == BPF_TCP_ESTABLISHED && is_peer(sk, p);
	bpf_sk_release(sk);
	return held;
}

static __always_inline bool somebody_listens(const struct settings *set, const struct packet *p)
{
	struct bpf_sock *sk = find_listener(set, p->src.lo, p->sport, p->network, p->v6);

	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

static __always_inline bool is_steered_client(struct __sk_buff *skb, const struct settings *set,
					      const struct packet *p)
{
	bool included = !(set->flags & FLAG_CLIENTS_ONLY);

	if (set->flags & FLAG_CLIENTS) {
		struct prefix key = { .length = 128, .addr = p->src };
		u8 *listed = clients.lookup(&key);

		if (listed && *listed == CLIENT_EXCLUDE)
			return false;
		if (listed)
			included = true;
	}
	if (set->flags & FLAG_MACS) {
		struct mac mac = {};
		u8 *listed;

		/* Fails where there is no Ethernet header, and then nobody is listed. */
		if (bpf_skb_load_bytes_relative(skb, 6, mac.octets, 6, BPF_HDR_START_MAC))
			return included;
		listed = macs.lookup(&mac);
		if (listed && *listed == CLIENT_EXCLUDE)
			return false;
		if (listed)
			included = true;
	}
	return included;
}

/*
 * A flow nobody holds yet. `known`: the fields of it that are known. Unless it `may_stay`, it passes
 * by the relay only when there is none.
 */
static __always_inline int route_new(struct __sk_buff *skb, const struct settings *set,
				     const struct packet *p, u32 known, bool may_stay)
{
	bool bypassed;
	u32 verdict = prefix_verdict(set, &p->dst, &bypassed);
	int past;

	if (bypassed || !is_steered_client(skb, set, p)) {
		past = ROUTE_BYPASS;
	} else {
		if (verdict == VERDICT_UNKNOWN)
			verdict = cached_verdict(set, p, known);
		if (verdict == VERDICT_DROP)
			return ROUTE_DROP;
		if (verdict == VERDICT_DIRECT)
			past = ROUTE_KERNEL;
		else
			past = set->flags & FLAG_CLOSED ? ROUTE_CLOSED : ROUTE_OPEN;
	}
	if (may_stay && (past == ROUTE_BYPASS || past == ROUTE_KERNEL))
		return past;
	return somebody_listens(set, p) ? ROUTE_RELAY : past;
}

static __always_inline struct flow_key flow_of(const struct packet *p)
{
	struct flow_key key = { .src = p->src, .dst = p->dst, .sport = p->sport,
				.dport = p->dport, .network = p->network };

	return key;
}

/* Whether the kernel forwards this flow, as far as that is remembered. */
static __always_inline bool is_passing(const struct packet *p)
{
	struct flow_key key = flow_of(p);
	u64 now, *seen = flows.lookup(&key);
	s64 age;

	if (!seen)
		return false;
	now = bpf_ktime_get_coarse_ns();
	age = now - *seen; /* below zero when another CPU touches it meanwhile */
	if (age >= FLOW_NS)
		return false;
	if (age > FLOW_TOUCH_NS)
		*seen = now;
	return true;
}

/*
 * Whether the relay may hold any TCP flow: one was given to it lately, or its worker said that some
 * are alive. If not, no socket, TIME_WAIT included, can be a flow's, and none is claimed.
 */
static __always_inline bool claims_exist(void)
{
	u32 zero = 0;
	u64 *last = claims.lookup(&zero);

	return last && *last && (s64)(bpf_ktime_get_coarse_ns() - *last) < CLAIM_NS;
}

/* Whether the flow was given to the relay and no socket of it need be there (yet, or any more). */
static __always_inline bool is_claimed(const struct packet *p, s64 lifetime)
{
	struct flow_key key = flow_of(p);
	u64 *since = claimed.lookup(&key);

	return since && (s64)(bpf_ktime_get_coarse_ns() - *since) < lifetime;
}

/* The flow goes to the relay, now and while the relay has no socket for it. */
static __always_inline void claim(const struct packet *p)
{
	struct flow_key key = flow_of(p);
	u64 now = bpf_ktime_get_coarse_ns();
	u64 *since = claimed.lookup(&key);
	u32 zero = 0;
	u64 *last;

	if (since && (s64)(now - *since) < CLAIM_TOUCH_NS)
		return;
	claimed.update(&key, &now);
	last = claims.lookup(&zero);
	if (last && p->network == IPPROTO_TCP)
		*last = now;
}

/*
 * A segment follows its flow: if a socket of ours holds the 4-tuple it goes there, else it is the
 * kernel's. A SYN meets the same sockets (retransmitted, or a port reused in TIME_WAIT). A flow
 * that begins over a TIME_WAIT socket is the relay's, if there is one; otherwise it is remembered,
 * so that the socket does not catch its later segments. A claimed flow is the relay's also without
 * a socket: its handshake may end in a SYN cookie, and what arrives after the relay has closed it
 * must meet a reset here, not the server.
 */
static __always_inline int follow_tcp(struct __sk_buff *skb, const struct settings *set,
				      const struct packet *p, bool *may_stay)
{
	u8 flags = p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN);
	bool relaying = claims_exist();
	int held = relaying ? held_tcp(skb, p) : HELD_NOT;

	if (held == HELD_LIVE) {
		claim(p);
		return ROUTE_RELAY;
	}
	if (flags == TCP_SYN) {
		*may_stay = held == HELD_NOT;
		return ROUTE_NEW;
	}
	if (held == HELD_TIME_WAIT)
		return is_passing(p) ? ROUTE_KERNEL : ROUTE_RELAY;
	if (relaying && is_claimed(p, CLAIM_NS) && somebody_listens(set, p))
		return ROUTE_RELAY;
	/* The relay that held it may be gone: then only its verdict lets a segment pass. */
	if ((set->flags & FLAG_CLOSED) && !somebody_listens(set, p))
		return ROUTE_NEW;
	return ROUTE_KERNEL;
}

static __always_inline int follow_udp(struct __sk_buff *skb, const struct settings *set,
				      const struct packet *p)
{
	if (is_passing(p))
		return ROUTE_KERNEL;
	if (held_udp(skb, p))
		return ROUTE_RELAY;
	/* A verdict learnt while the relay connects a socket comes too late for this flow. */
	return is_claimed(p, UDP_CLAIM_NS) && somebody_listens(set, p) ? ROUTE_RELAY : ROUTE_NEW;
}

static __always_inline struct fragment_key fragment_of(const struct packet *p)
{
	struct fragment_key key = { .src = p->src, .dst = p->dst, .id = p->fragment_id,
				    .network = p->network };

	return key;
}

/* Later fragments have no ports: they follow the first, or what is decided without ports. */
static __always_inline int follow_fragment(const struct packet *p)
{
	struct fragment_key key = fragment_of(p);
	struct fragment_value *first = fragments.lookup(&key);

	if (first && (s64)(bpf_ktime_get_coarse_ns() - first->seen_ns) < FRAGMENT_NS)
		return first->route;
	return ROUTE_NEW;
}

/* What held_tcp and held_udp will not be able to tell of a flow that began. */
static __always_inline void remember_flow(const struct packet *p, u32 route, bool may_stay)
{
	bool tcp = p->network == IPPROTO_TCP;
	struct flow_key key = flow_of(p);
	u64 now = bpf_ktime_get_coarse_ns();

	if (route == ROUTE_RELAY)
		claim(p);
	else if (tcp && claims_exist())
		claimed.delete(&key);
	if (tcp && may_stay)
		return;
	if (route == ROUTE_KERNEL || route == ROUTE_OPEN || (route == ROUTE_BYPASS && tcp))
		flows.update(&key, &now);
	else if (tcp)
		flows.delete(&key);
}

/* What later fragments of the datagram will look for. */
static __always_inline void remember_fragment(const struct packet *p, u32 route)
{
	struct fragment_key key = fragment_of(p);
	struct fragment_value value = { .seen_ns = bpf_ktime_get_coarse_ns(), .route = route };

	fragments.update(&key, &value);
}

static __always_inline int route_flow(struct __sk_buff *skb, const struct settings *set,
				      const struct packet *p, bool *new_flow)
{
	u32 known = FIELD_SRC_ADDR | FIELD_DST_ADDR | FIELD_NETWORK;
	bool may_stay = true;
	int route;

	if (p->fragment == FRAGMENT_LATER) {
		route = follow_fragment(p);
	} else {
		known |= FIELD_SRC_PORT | FIELD_DST_PORT;
		if (p->network == IPPROTO_TCP)
			route = follow_tcp(skb, set, p, &may_stay);
		else
			route = follow_udp(skb, set, p);
		*new_flow = route == ROUTE_NEW &&
			    (p->network == IPPROTO_UDP || (p->tcp_flags & TCP_SYN));
	}
	if (route == ROUTE_NEW)
		route = route_new(skb, set, p, known, may_stay);
	if (*new_flow)
		remember_flow(p, route, may_stay);
	if (p->fragment == FRAGMENT_FIRST)
		remember_fragment(p, route);
	return route;
}

static __always_inline int route_packet(struct __sk_buff *skb, const struct settings *set,
					struct packet *p, bool *new_flow)
{
	int parsed;

	if (skb->pkt_type != PACKET_HOST)
		return ROUTE_OTHER;
	parsed = parse(skb, p);
	if (parsed == PARSED_MALFORMED)
		return ROUTE_MALFORMED;
	if (parsed == PARSED_OTHER)
		return ROUTE_OTHER;
	if (own.lookup(&p->dst))
		return ROUTE_OWN;
	if (is_never_steered(set, &p->dst) || is_unroutable(&p->src))
		return ROUTE_BYPASS;
	if (p->v6 && !(set->flags & FLAG_IPV6))
		return ROUTE_BYPASS;
	return route_flow(skb, set, p, new_flow);
}

int lan_ingress(struct __sk_buff *skb)
{
	struct settings *set = get_settings();
	struct packet p = {};
	bool new_flow = false;
	u32 route;

	if (!set)
		return TC_ACT_UNSPEC;
	route = route_packet(skb, set, &p, &new_flow);
	count_client(&p.src, route, skb->len, new_flow);
	if (route == ROUTE_DROP || route == ROUTE_CLOSED)
		return TC_ACT_SHOT;
	if (route == ROUTE_RELAY)
		skb->mark |= set->mark;
	else if (skb->mark & set->mark)
		skb->mark &= ~set->mark;
	return TC_ACT_UNSPEC;
}

/*
 * Towards the client. A UDP flow that arrives by forwarding (a forwarded port, a peer that spoke
 * first) is the kernel's: its answers must not be steered.
 */
static __always_inline int route_down(struct __sk_buff *skb, const struct packet *p)
{
	struct flow_key key = { .src = p->dst, .dst = p->src, .sport = p->dport, .dport = p->sport,
				.network = p->network };
	u64 now, *seen;

	if (!skb->ingress_ifindex)
		return own.lookup((struct addr *)&p->src) ? ROUTE_DOWN_OWN : ROUTE_DOWN_RELAY;
	if (p->network != IPPROTO_UDP || p->fragment == FRAGMENT_LATER)
		return ROUTE_DOWN_KERNEL;
	now = bpf_ktime_get_coarse_ns();
	seen = flows.lookup(&key);
	if (!seen)
		flows.update(&key, &now);
	else if ((s64)(now - *seen) > FLOW_TOUCH_NS)
		*seen = now;
	return ROUTE_DOWN_KERNEL;
}

int lan_egress(struct __sk_buff *skb)
{
	struct packet p = {};
	u32 route;

	if (parse(skb, &p) != PARSED_FLOW || is_unroutable(&p.dst)) {
		count(ROUTE_OTHER, skb->len, false);
		return TC_ACT_UNSPEC;
	}
	route = route_down(skb, &p);
	count_client(&p.dst, route, skb->len, false);
	return TC_ACT_UNSPEC;
}
