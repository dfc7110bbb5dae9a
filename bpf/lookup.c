/* SPDX-License-Identifier: MIT */
/*
 * sk_lookup: new flows to a foreign address meet the relay's listener. Runs only when the stack
 * needs a listener or an unconnected UDP socket, for every such lookup of the namespace, and
 * cannot read the mark: what is the host's own business is told by address and interface.
 */

int pick_listener(struct bpf_sk_lookup *ctx)
{
	u32 from = ctx->ingress_ifindex, zero = 0;
	u32 *probe = probing.lookup(&zero);
	struct settings *set;
	struct addr local, remote;
	struct bpf_sock *sk;
	bool v6 = ctx->family == 10; /* AF_INET6 */

	if (probe && *probe)
		return SK_DROP; /* "no socket", without a walk through the listeners */
	if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP)
		return SK_PASS;
	if (!lan.lookup(&from))
		return SK_PASS;
	if (v6) {
		local.hi = (u64)ctx->local_ip6[1] << 32 | ctx->local_ip6[0];
		local.lo = (u64)ctx->local_ip6[3] << 32 | ctx->local_ip6[2];
		remote.lo = (u64)ctx->remote_ip6[3] << 32 | ctx->remote_ip6[2];
	} else {
		local = mapped(ctx->local_ip4);
		remote = mapped(ctx->remote_ip4);
	}
	set = get_settings();
	if (!set || own.lookup(&local) || is_never_steered(set, &local))
		return SK_PASS;
	sk = find_listener(set, remote.lo, ctx->remote_port, ctx->protocol, v6);
	if (!sk)
		return SK_PASS;
	bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	return SK_PASS;
}
