/* SPDX-License-Identifier: MIT */
/* The one translation unit: the loader inlines the quoted includes and hands the whole to bcc. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/if_packet.h>
#include <uapi/linux/in.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/ipv6.h>
#include <uapi/linux/pkt_cls.h>

#ifndef SOL_SOCKET
#define SOL_SOCKET 1
#define SO_MARK 36
#endif

#include "verdict.h"
#include "maps.h"
#include "parse.h"
#include "decide.h"
#include "count.h"
#include "lan.c"
#include "lookup.c"
#include "local.c"
