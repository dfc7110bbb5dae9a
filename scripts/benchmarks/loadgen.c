/* SPDX-License-Identifier: MIT
 *
 * Load generator of the benchmarks: one thread, epoll, no library.
 *
 *   loadgen http HOST PORT N CONCURRENCY PATH       connect, request, read to EOF, close: N times
 *   loadgen udp HOST PORT SOCKETS HZ BYTES SECONDS WARMUP  echo round trips at a fixed rate per
 *                                                   socket; the first WARMUP seconds do not count
 *   loadgen idle HOST PORT N                        N flows, each proven by one echoed byte, then held
 *
 * Each prints one line of JSON; latencies are in microseconds. `idle` prints its line when all flows
 * stand and holds them until it is killed.
 *
 * An HTTP latency runs from connect() to the EOF of the response. The server closes first, so the
 * client's source ports are free again at once. A UDP latency runs from the time the datagram was
 * due, not from the time it was sent: a late sender shows, it does not hide what it caused. Sender
 * and echo server run at real-time priority where that is allowed, so that what is measured is the
 * way between them and not how long they waited for a processor themselves.
 */
#define _GNU_SOURCE
#include "loadgen.h"

#include <netdb.h>
#include <time.h>

#define NS 1000000000ull
#define FLOW_TIMEOUT (10 * NS)
#define OPENING 256 /* idle flows being opened at a time: below every backlog */

enum failure { REFUSED, RESET, TIMED_OUT, WRONG_ANSWER, OTHER, FAILURES };
static const char *const failure_names[FAILURES] = {
	"refused", "reset", "timeout", "wrong-answer", "other"
};
static unsigned long failures[FAILURES];

static struct sockaddr_storage peer;
static socklen_t peer_len;
static uint64_t *samples; /* ns */
static size_t sample_count;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS + t.tv_nsec;
}

static void fail(int error)
{
	switch (error) {
	case ECONNREFUSED: failures[REFUSED]++; break;
	case ECONNRESET:
	case EPIPE: failures[RESET]++; break;
	case ETIMEDOUT: failures[TIMED_OUT]++; break;
	case EBADMSG: failures[WRONG_ANSWER]++; break;
	default: failures[OTHER]++;
	}
}

static void resolve(const char *host, const char *port)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV }, *found;

	if (getaddrinfo(host, port, &hints, &found)) {
		fprintf(stderr, "loadgen: not an address: %s port %s\n", host, port);
		exit(2);
	}
	memcpy(&peer, found->ai_addr, found->ai_addrlen);
	peer_len = found->ai_addrlen;
	freeaddrinfo(found);
}

static int open_to_peer(int type)
{
	int fd = socket(peer.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	if (connect(fd, (struct sockaddr *)&peer, peer_len) && errno != EINPROGRESS) {
		fail(errno);
		close(fd);
		return -1;
	}
	return fd;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The smallest sample that at least `share` of all samples do not exceed, in microseconds. */
static double percentile(double share)
{
	size_t rank;

	if (!sample_count)
		return 0;
	rank = (size_t)(share * sample_count);
	return samples[rank < sample_count ? rank : sample_count - 1] / 1000.0;
}

static void report(unsigned long tried, double seconds)
{
	struct rusage usage;
	int i;

	getrusage(RUSAGE_SELF, &usage);
	qsort(samples, sample_count, sizeof(*samples), by_value);
	printf("{\"tried\":%lu,\"ok\":%zu,\"seconds\":%.6f,\"rate\":%.1f,", tried, sample_count,
	       seconds, sample_count / seconds);
	printf("\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p99.9\":%.1f,\"max\":%.1f,",
	       percentile(.5), percentile(.9), percentile(.99), percentile(.999), percentile(1));
	printf("\"cpu_seconds\":%.3f,\"errors\":{",
	       usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
		       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
	for (i = 0; i < FAILURES; i++)
		printf("%s\"%s\":%lu", i ? "," : "", failure_names[i], failures[i]);
	printf("}}\n");
	fflush(stdout);
}

/* ---- http ---- */

struct request {
	int fd; /* -1: slot free */
	int sent;
	uint64_t begun;
	size_t got, expected;
};

static struct request *requests;
static unsigned long http_total, http_begun, http_done;
static char http_text[1024];
static int http_text_len;

static void http_begin(size_t slot)
{
	struct request *request = &requests[slot];

	request->fd = -1;
	while (request->fd < 0 && http_begun < http_total) {
		http_begun++;
		request->begun = now_ns();
		request->sent = 0;
		request->got = request->expected = 0;
		request->fd = open_to_peer(SOCK_STREAM);
		if (request->fd < 0)
			http_done++;
	}
	if (request->fd >= 0)
		watch(request->fd, EPOLLIN | EPOLLOUT | EPOLLET, slot);
}

static void http_end(size_t slot, int error)
{
	struct request *request = &requests[slot];

	if (!error && (!request->expected || request->got != request->expected))
		error = EBADMSG;
	if (error)
		fail(error);
	else
		samples[sample_count++] = now_ns() - request->begun;
	close(request->fd);
	http_done++;
	http_begin(slot);
}

/* The whole length of a response, from its head; 0 when it is not a 200 with a Content-Length. */
static size_t response_length(size_t got)
{
	char *end, *length;

	buffer[got] = 0;
	end = strstr(buffer, "\r\n\r\n");
	length = strcasestr(buffer, "\r\ncontent-length:");
	if (!end || !length || length > end || got < 12 || memcmp(buffer + 8, " 200", 4))
		return 0;
	return end + 4 - buffer + strtoul(length + 17, NULL, 10);
}

static void http_progress(size_t slot, uint32_t events)
{
	struct request *request = &requests[slot];
	ssize_t n;

	if (!request->sent && (events & EPOLLOUT) && !(events & EPOLLERR)) {
		if (send(request->fd, http_text, http_text_len, MSG_NOSIGNAL) != http_text_len) {
			http_end(slot, errno);
			return;
		}
		request->sent = 1;
	}
	if (!(events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP)))
		return;
	while ((n = recv(request->fd, buffer, sizeof(buffer) - 1, 0)) > 0) {
		if (!request->got)
			request->expected = response_length(n);
		request->got += n;
	}
	if (n == 0)
		http_end(slot, 0);
	else if (errno != EAGAIN)
		http_end(slot, errno);
}

static void http(const char *path, unsigned long total, size_t concurrency)
{
	struct epoll_event events[BATCH];
	uint64_t begun = now_ns(), swept = begun;
	size_t slot;
	int i, n;

	http_text_len = snprintf(http_text, sizeof(http_text),
				 "GET %s HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n", path);
	http_total = total;
	requests = calloc(concurrency, sizeof(*requests));
	samples = calloc(total, sizeof(*samples));
	for (slot = 0; slot < concurrency; slot++)
		http_begin(slot);
	while (http_done < http_total) {
		n = epoll_wait(epfd, events, BATCH, 1000);
		for (i = 0; i < n; i++)
			http_progress(events[i].data.u64, events[i].events);
		if (now_ns() - swept < NS)
			continue;
		swept = now_ns();
		for (slot = 0; slot < concurrency; slot++)
			if (requests[slot].fd >= 0 && swept - requests[slot].begun > FLOW_TIMEOUT)
				http_end(slot, ETIMEDOUT);
	}
	report(total, (now_ns() - begun) / 1e9);
}

/* ---- udp ---- */

static uint64_t counted_from; /* datagrams that were due earlier do not count */

static void udp_receive(int fd, size_t bytes)
{
	uint64_t due;
	ssize_t n;

	while ((n = recv(fd, buffer, sizeof(buffer), 0)) >= 0) {
		if ((size_t)n != bytes) {
			failures[WRONG_ANSWER]++;
			continue;
		}
		memcpy(&due, buffer, sizeof(due));
		if (due >= counted_from)
			samples[sample_count++] = now_ns() - due;
	}
	if (errno != EAGAIN)
		fail(errno);
}

static void udp_wait(uint64_t until, size_t bytes)
{
	struct epoll_event events[BATCH];
	struct timespec timeout;
	uint64_t now;
	int i, n;

	while ((now = now_ns()) < until) {
		timeout.tv_sec = (until - now) / NS;
		timeout.tv_nsec = (until - now) % NS;
		n = epoll_pwait2(epfd, events, BATCH, &timeout, NULL);
		for (i = 0; i < n; i++)
			udp_receive(events[i].data.fd, bytes);
	}
}

/* Datagram k is due at begin + k / (sockets * hz) and leaves by socket k mod sockets: every socket
 * sends hz times a second and the phases of the sockets are spread evenly. */
static void udp(size_t sockets, unsigned long hz, size_t bytes, unsigned long seconds,
		unsigned long warmup)
{
	unsigned long total = sockets * hz * (warmup + seconds), k;
	static char datagram[65536];
	uint64_t begun, due;
	int *fds = calloc(sockets, sizeof(*fds));
	size_t i;

	if (bytes < sizeof(due) || bytes > sizeof(datagram)) {
		fprintf(stderr, "loadgen: a datagram has 8 to 65507 bytes\n");
		exit(2);
	}
	prctl(PR_SET_TIMERSLACK, 1);
	wake_first();
	/* A proxy that duplicates must not overrun the array. */
	samples = calloc(total * 2, sizeof(*samples));
	for (i = 0; i < sockets; i++) {
		fds[i] = open_to_peer(SOCK_DGRAM);
		if (fds[i] < 0)
			die("connect");
		watch(fds[i], EPOLLIN, fds[i]);
	}
	begun = now_ns();
	counted_from = begun + warmup * NS;
	for (k = 0; k < total; k++) {
		due = begun + k * NS / (sockets * hz);
		udp_wait(due, bytes);
		memcpy(datagram, &due, sizeof(due));
		if (send(fds[k % sockets], datagram, bytes, 0) < 0)
			fail(errno);
	}
	udp_wait(now_ns() + NS / 2, bytes);
	report(sockets * hz * seconds, seconds);
}

/* ---- idle ---- */

static size_t idle_open(size_t begun)
{
	int fd = open_to_peer(SOCK_STREAM);

	if (fd >= 0)
		watch(fd, EPOLLOUT | EPOLLONESHOT, fd);
	return begun + 1;
}

static void idle_progress(int fd, uint32_t events)
{
	struct epoll_event wait_for_echo = { .events = EPOLLIN, .data.u64 = fd };
	ssize_t n;

	if (events & EPOLLOUT) {
		if (send(fd, "x", 1, MSG_NOSIGNAL) == 1) {
			epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &wait_for_echo);
			return;
		}
		fail(errno);
	} else {
		n = recv(fd, buffer, 2, 0);
		if (n == 1) {
			epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL);
			samples[sample_count++] = 0;
			return;
		}
		fail(n < 0 ? errno : EBADMSG);
	}
	close(fd);
}

static void idle(size_t total)
{
	struct epoll_event events[BATCH];
	size_t begun = 0, settled = 0;
	uint64_t start = now_ns();
	int i, n;

	samples = calloc(total, sizeof(*samples));
	while (settled < total) {
		settled = failures[REFUSED] + failures[RESET] + failures[TIMED_OUT] +
			  failures[WRONG_ANSWER] + failures[OTHER] + sample_count;
		while (begun < total && begun - settled < OPENING)
			begun = idle_open(begun);
		n = settled < total ? epoll_wait(epfd, events, BATCH, FLOW_TIMEOUT / 1000000) : 0;
		if (n == 0 && settled < total) {
			failures[TIMED_OUT] += begun - settled;
			break;
		}
		for (i = 0; i < n; i++)
			idle_progress(events[i].data.fd, events[i].events);
	}
	report(total, (now_ns() - start) / 1e9);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	start();
	if (argc > 4)
		resolve(argv[2], argv[3]);
	if (!strcmp(mode, "http") && argc == 7)
		http(argv[6], strtoul(argv[4], NULL, 10), strtoul(argv[5], NULL, 10));
	else if (!strcmp(mode, "udp") && argc == 9)
		udp(strtoul(argv[4], NULL, 10), strtoul(argv[5], NULL, 10),
		    strtoul(argv[6], NULL, 10), strtoul(argv[7], NULL, 10),
		    strtoul(argv[8], NULL, 10));
	else if (!strcmp(mode, "idle") && argc == 5)
		idle(strtoul(argv[4], NULL, 10));
	else {
		fprintf(stderr, "loadgen: see the head of loadgen.c for its arguments\n");
		return 2;
	}
	return 0;
}
