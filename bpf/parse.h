/* SPDX-License-Identifier: MIT */
/*
 * From a packet to the fields of its flow. Offsets count from the network header, so frames with
 * and without an Ethernet header, tagged and not, are one case. Everything is read through
 * bpf_skb_load_bytes_relative, which checks bounds: a truncated header is an error, never a read
 * beyond the packet.
 */

#define MAX_EXTENSIONS 6 /* IPv6 extension headers looked through (RFC 8200, section 4) */

enum fragment { FRAGMENT_NONE, FRAGMENT_FIRST, FRAGMENT_LATER };

enum parsed {
	PARSED_FLOW,	  /* TCP or UDP, every field set (no ports on a later fragment) */
	PARSED_OTHER,	  /* some other protocol, or extension headers beyond our patience */
	PARSED_MALFORMED, /* headers that contradict themselves or end early */
};

struct packet {
	struct addr src, dst;
	u16 sport, dport; /* network order */
	u8 network;
	u8 tcp_flags;
	u8 fragment;
	u8 v6;
	u32 fragment_id;
};

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

static __always_inline bool load(struct __sk_buff *skb, u32 offset, void *to, u32 size)
{
	return bpf_skb_load_bytes_relative(skb, offset, to, size, BPF_HDR_START_NET) == 0;
}

static __always_inline struct addr mapped(u32 ip4)
{
	struct addr a = { .hi = 0 };

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	a.lo = (u64)ip4 << 32 | 0xffff0000ULL;
#else
	a.lo = (u64)ip4 | 0xffff00000000ULL;
#endif
	return a;
}

static __always_inline u32 ip4_of(const struct addr *a)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return ntohl((u32)(a->lo >> 32));
#else
	return (u32)a->lo;
#endif
}

static __always_inline bool is_v4(const struct addr *a)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return a->hi == 0 && (u32)a->lo == 0xffff0000U;
#else
	return a->hi == 0 && a->lo >> 32 == 0xffffU;
#endif
}

static __always_inline int parse_ports(struct __sk_buff *skb, u32 offset, struct packet *p)
{
	u8 tcp[16] __attribute__((aligned(4)));
	u16 ports[4];

	if (p->network == IPPROTO_UDP) {
		if (!load(skb, offset, ports, sizeof(ports)))
			return PARSED_MALFORMED;
		p->sport = ports[0];
		p->dport = ports[1];
		if (ntohs(ports[2]) < 8 && (ports[2] || !p->v6)) /* 0: a jumbogram (RFC 2675) */
			return PARSED_MALFORMED;
		return PARSED_FLOW;
	}
	if (!load(skb, offset, tcp, sizeof(tcp)))
		return PARSED_MALFORMED;
	if (tcp[12] >> 4 < 5)
		return PARSED_MALFORMED;
	p->sport = *(u16 *)&tcp[0];
	p->dport = *(u16 *)&tcp[2];
	p->tcp_flags = tcp[13];
	return PARSED_FLOW;
}

static __always_inline int parse_v4(struct __sk_buff *skb, u32 offset, struct packet *p)
{
	struct iphdr ip;
	u32 header, total;
	u16 frag;

	if (!load(skb, offset, &ip, sizeof(ip)))
		return PARSED_MALFORMED;
	header = ip.ihl * 4;
	total = ntohs(ip.tot_len);
	if (!total && skb->gso_size) /* aggregated beyond 64 KiB: the field cannot hold it */
		total = skb->len;
	if (ip.version != 4 || header < sizeof(ip) || total < header)
		return PARSED_MALFORMED;
	p->src = mapped(ip.saddr);
	p->dst = mapped(ip.daddr);
	if (ip.protocol != IPPROTO_TCP && ip.protocol != IPPROTO_UDP)
		return PARSED_OTHER;
	p->network = ip.protocol;
	frag = ntohs(ip.frag_off);
	p->fragment_id = ip.id;
	if (frag & 0x1fff) {
		p->fragment = FRAGMENT_LATER;
		return PARSED_FLOW;
	}
	if (frag & 0x2000)
		p->fragment = FRAGMENT_FIRST;
	/* What stands behind the packet's end is padding of the link: the stack will cut it off. */
	if (total < header + (ip.protocol == IPPROTO_TCP ? 20 : 8))
		return PARSED_MALFORMED;
	return parse_ports(skb, offset + header, p);
}

static __always_inline int parse_v6(struct __sk_buff *skb, u32 offset, struct packet *p)
{
	struct ipv6hdr ip;
	u8 next, ext[8];

	p->v6 = 1;
	if (!load(skb, offset, &ip, sizeof(ip)))
		return PARSED_MALFORMED;
	if (ip.version != 6)
		return PARSED_MALFORMED;
	__builtin_memcpy(&p->src, &ip.saddr, sizeof(p->src));
	__builtin_memcpy(&p->dst, &ip.daddr, sizeof(p->dst));
	/* No such address is on any wire (RFC 4291); here it would meet the verdicts of IPv4. */
	if (is_v4(&p->src) || is_v4(&p->dst))
		return PARSED_MALFORMED;
	next = ip.nexthdr;
	offset += sizeof(ip);
#pragma unroll
	for (int i = 0; i <= MAX_EXTENSIONS; i++) {
		if (next == IPPROTO_TCP || next == IPPROTO_UDP) {
			p->network = next;
			return parse_ports(skb, offset, p);
		}
		/* AH too is left alone, as in IPv4: only the real peer can check it. */
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT)
			return PARSED_OTHER;
		if (!load(skb, offset, ext, sizeof(ext)))
			return PARSED_MALFORMED;
		if (next == IPPROTO_FRAGMENT) {
			u16 frag = (u16)ext[2] << 8 | ext[3];

			p->fragment_id = *(u32 *)&ext[4];
			if (frag & 0xfff8) {
				if (ext[0] != IPPROTO_TCP && ext[0] != IPPROTO_UDP)
					return PARSED_OTHER;
				p->network = ext[0];
				p->fragment = FRAGMENT_LATER;
				return PARSED_FLOW;
			}
			if (frag & 1) /* alone of its kind otherwise: an atomic fragment (RFC 6946) */
				p->fragment = FRAGMENT_FIRST;
			offset += 8;
		} else {
			offset += (ext[1] + 1) * 8;
		}
		next = ext[0];
	}
	return PARSED_OTHER;
}

/*
 * The kernel strips the outer VLAN tag before tc sees the frame and hands it on to the VLAN's own
 * interface, which has a classifier of its own. What still carries a tag here is either priority
 * tagged (VLAN 0, ours to classify) or another interface's business.
 */
static __always_inline int parse(struct __sk_buff *skb, struct packet *p)
{
	u32 offset = 0;
	u16 protocol = skb->protocol;
	u16 tag[2];

	if (skb->vlan_present && (skb->vlan_tci & 0x0fff))
		return PARSED_OTHER;
#pragma unroll
	for (int i = 0; i < 2; i++) {
		if (protocol != htons(ETH_P_8021Q) && protocol != htons(ETH_P_8021AD))
			break;
		if (!load(skb, offset, tag, sizeof(tag)))
			return PARSED_MALFORMED;
		if (ntohs(tag[0]) & 0x0fff)
			return PARSED_OTHER;
		protocol = tag[1];
		offset += sizeof(tag);
	}
	if (protocol == htons(ETH_P_IP))
		return parse_v4(skb, offset, p);
	if (protocol == htons(ETH_P_IPV6))
		return parse_v6(skb, offset, p);
	return PARSED_OTHER;
}
