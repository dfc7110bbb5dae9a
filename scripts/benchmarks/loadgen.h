/* SPDX-License-Identifier: MIT
 *
 * What the load generator and the servers of the benchmarks have in common.
 */
#ifndef LOADGEN_H
#define LOADGEN_H

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 256 /* events taken from epoll at a time */

static char buffer[256 * 1024];
static int epfd;

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

/* One descriptor per flow; the usual limit is 1024. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit = { 200000, 200000 };

	if (setrlimit(RLIMIT_NOFILE, &limit) && !getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void watch(int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };

	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event))
		die("epoll_ctl");
}

/* Runs before everything of ordinary priority when there is something to do; a host that does not
 * allow it is measured without. */
static inline void wake_first(void)
{
	struct sched_param lowest = { .sched_priority = 1 };

	sched_setscheduler(0, SCHED_FIFO, &lowest);
}

/* Ends with the process that started it: nothing is left when a benchmark is killed. */
static void start(void)
{
	raise_descriptor_limit();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0)
		die("epoll_create1");
}

#endif
