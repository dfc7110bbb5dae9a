/* SPDX-License-Identifier: MIT */
/*
 * cgroup/connect4,6 and sendmsg4,6: the gateway's own traffic. A socket that should be relayed gets
 * our mark, and the rule `fwmark MARK iif lo` turns its packets back to this host. Sockets that
 * carry any other mark belong to somebody's policy (ours: routing-mark) and are left alone.
 * The cgroup hierarchy spans network namespaces, so the cookie tells ours from others.
 *
 * A datagram of an unconnected socket takes the mark the socket had before the program ran: the
 * first one goes the kernel's way, those after it the way of the last decision.
 */

/* Bound to somebody else's address: a transparent proxy's answer, ours among them. */
static __always_inline bool is_transparent(const struct bpf_sock *sk, bool v6)
{
	struct addr bound;

	if (v6) {
		bound.hi = (u64)sk->src_ip6[1] << 32 | sk->src_ip6[0];
		bound.lo = (u64)sk->src_ip6[3] << 32 | sk->src_ip6[2];
	} else {
		bound = mapped(sk->src_ip4);
	}
	return !is_unroutable(&bound) && !own.lookup(&bound);
}

static __always_inline bool is_relayed(const struct settings *set, const struct packet *p)
{
	bool bypassed;
	u32 verdict;
	struct bpf_sock *sk;

	if (own.lookup((struct addr *)&p->dst) || is_never_steered(set, &p->dst))
		return false;
	if (p->v6 && !(set->flags & FLAG_IPV6))
		return false;
	verdict = prefix_verdict(set, &p->dst, &bypassed);
	if (verdict == VERDICT_UNKNOWN)
		verdict = cached_verdict(set, p, FIELD_DST_ADDR | FIELD_DST_PORT | FIELD_NETWORK);
	if (verdict == VERDICT_DIRECT)
		return false;
	sk = find_listener(set, 0, 0, p->network, p->v6);
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

static __always_inline int steer_own(struct bpf_sock_addr *ctx, struct packet *p)
{
	struct settings *set = get_settings();
	struct bpf_sock *sk = ctx->sk;
	u32 mark, wanted;

	if (!set || !(set->flags & FLAG_LOCAL) || !sk)
		return 1;
	if (bpf_get_netns_cookie(ctx) != set->netns_cookie)
		return 1;
	if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP)
		return 1;
	mark = sk->mark;
	if ((mark && mark != set->mark) || is_transparent(sk, p->v6))
		return 1;
	p->network = ctx->protocol;
	p->dport = (u16)ctx->user_port;
	wanted = is_relayed(set, p) ? set->mark : 0;
	if (wanted != mark)
		bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &wanted, sizeof(wanted));
	return 1;
}

static __always_inline int steer_own4(struct bpf_sock_addr *ctx)
{
	struct packet p = { .dst = mapped(ctx->user_ip4) };

	return steer_own(ctx, &p);
}

static __always_inline int steer_own6(struct bpf_sock_addr *ctx)
{
	struct packet p = {};

	p.dst.hi = (u64)ctx->user_ip6[1] << 32 | ctx->user_ip6[0];
	p.dst.lo = (u64)ctx->user_ip6[3] << 32 | ctx->user_ip6[2];
	p.v6 = !is_v4(&p.dst);
	return steer_own(ctx, &p);
}

int local_connect4(struct bpf_sock_addr *ctx)
{
	return steer_own4(ctx);
}

int local_connect6(struct bpf_sock_addr *ctx)
{
	return steer_own6(ctx);
}

int local_sendmsg4(struct bpf_sock_addr *ctx)
{
	return steer_own4(ctx);
}

int local_sendmsg6(struct bpf_sock_addr *ctx)
{
	return steer_own6(ctx);
}
