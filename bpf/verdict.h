/* SPDX-License-Identifier: MIT */
/*
 * The words kernel and user space share: verdicts, fields, keys, settings, counters.
 * mihomo_tproxy/dataplane/abi.py is the same in Python; a test compares the sizes.
 *
 * Addresses are 128 bits in network order, IPv4 mapped into ::ffff:0:0/96 (RFC 4291, 2.5.5.2),
 * so that both families share maps and code.
 */

struct addr {
	u64 hi;
	u64 lo;
};

enum verdict {
	VERDICT_UNKNOWN = 0, /* nobody decided yet: ask user space */
	VERDICT_DIRECT = 1,  /* the kernel forwards as if we were not there */
	VERDICT_PROXY = 2,   /* to the relay */
	VERDICT_DROP = 3,    /* discard without an answer */
};

/* The fields of a flow a verdict can depend on (model/fields.py). */
#define FIELD_SRC_ADDR 1
#define FIELD_DST_ADDR 2
#define FIELD_SRC_PORT 4
#define FIELD_DST_PORT 8
#define FIELD_NETWORK 16

#define MAX_MASKS 6 /* first-match rule lists depend on a growing set of five fields */
#define MAX_WORKERS 16

struct settings {
	u32 mark;	  /* one bit: set on what the policy rule sends to the relay */
	u32 generation;	  /* of the rules; prefixes of another generation count for nothing */
	u32 flags;	  /* FLAG_* */
	u32 workers;	  /* relay workers to spread flows over */
	u32 routing_mark; /* SO_MARK of the daemon's own sockets, left alone by local steering */
	u32 masks[MAX_MASKS]; /* FIELD_* sets in use as verdict keys, 0-terminated */
	u32 epoch;	  /* of rules and groups; verdicts of another epoch count for nothing */
	u64 netns_cookie; /* of the namespace we steer, for the cgroup programs */
};

#define FLAG_CACHE 1		/* cached verdicts count; off: everything goes to the relay */
#define FLAG_CLOSED 2		/* no relay: drop instead of forwarding */
#define FLAG_CLIENTS_ONLY 4	/* steer only the clients that are listed */
#define FLAG_CLIENTS 8		/* the clients table has entries */
#define FLAG_MACS 16		/* the MAC table has entries */
#define FLAG_PRIVATE 32		/* private and reserved ranges are steered too */
#define FLAG_IPV6 64		/* IPv6 is steered */
#define FLAG_LOCAL 128		/* the gateway's own traffic is steered */

/* A range of destinations whose verdict is known beforehand. */
struct prefix {
	u32 length; /* bits, 96 more for IPv4 */
	struct addr addr;
} __attribute__((packed));

struct prefix_verdict {
	u32 generation; /* 0: the user's bypass list, good in every generation */
	u32 verdict;
};

/* A decision the relay or the DNS server made; fields outside `mask` are zero. */
struct verdict_key {
	struct addr src, dst;
	u16 sport, dport; /* network order */
	u8 network;	  /* IPPROTO_TCP, IPPROTO_UDP */
	u8 mask;	  /* FIELD_* */
	u16 pad;
};

struct verdict_value {
	u32 epoch;
	u32 verdict;
};

struct flow_key {
	struct addr src, dst;
	u16 sport, dport; /* network order */
	u32 network;
};

struct fragment_key {
	struct addr src, dst;
	u32 id;
	u32 network;
};

struct fragment_value {
	u64 seen_ns; /* identifications wrap: an old entry is another datagram's */
	u64 route;
};

#define CLIENT_INCLUDE 1
#define CLIENT_EXCLUDE 2

struct mac {
	u8 octets[8]; /* two bytes of padding */
};

/* Where a packet went: the index into `totals` and, up to ROUTE_CLIENTS, into a client's counters. */
enum route {
	ROUTE_KERNEL = 0,      /* forwarded: its verdict is DIRECT, or its flow began that way */
	ROUTE_RELAY = 1,       /* to the relay */
	ROUTE_DROP = 2,	       /* a rule said DROP */
	ROUTE_OPEN = 3,	       /* meant for the relay, nobody listens: forwarded */
	ROUTE_CLOSED = 4,      /* meant for the relay, nobody listens: dropped */
	ROUTE_BYPASS = 5,      /* ranges or clients that are never steered */
	ROUTE_DOWN_KERNEL = 6, /* to the client, forwarded */
	ROUTE_DOWN_RELAY = 7,  /* to the client, from the relay */
	ROUTE_CLIENTS = 8,
	ROUTE_OWN = 8,	      /* to the gateway itself */
	ROUTE_DOWN_OWN = 9,   /* to the client, from the gateway itself */
	ROUTE_OTHER = 10,     /* neither TCP nor UDP, or not for us to route */
	ROUTE_MALFORMED = 11, /* headers that contradict themselves: left to the kernel */
	ROUTE_MAX = 12,
	ROUTE_NEW = 255, /* nobody holds the flow yet */
};

struct count {
	u64 packets;
	u64 bytes;
	u64 flows;
};

struct client_counts {
	struct count routes[ROUTE_CLIENTS];
	u64 seen_ns; /* CLOCK_MONOTONIC */
};
