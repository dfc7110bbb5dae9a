/* SPDX-License-Identifier: MIT
 *
 * Servers of the benchmarks: one thread, epoll, no library, both address families.
 *
 *   loadserver http PORT BYTES   answers every request with BYTES bytes and closes
 *   loadserver udp-echo PORT     returns every datagram
 *   loadserver hold PORT         echoes what a flow sends and holds it until the peer closes
 *
 * Prints "listening" once it does.
 */
#define _GNU_SOURCE
#include "loadgen.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

static int listen_on(int type, const char *port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(port)) };
	int fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, none = 0;

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &none, sizeof(none));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)))
		die("bind");
	if (type == SOCK_STREAM && listen(fd, 16384))
		die("listen");
	puts("listening");
	fflush(stdout);
	return fd;
}

static void accept_all(int listener)
{
	int fd, one = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		watch(fd, EPOLLIN, fd);
	}
}

/* Answers every request with the same response, then closes. The body fits the send buffer. */
static void serve_http(const char *port, size_t bytes)
{
	struct epoll_event events[BATCH];
	int listener = listen_on(SOCK_STREAM, port), i, n, fd, head;
	char *response = malloc(bytes + 128);

	head = sprintf(response,
		       "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", bytes);
	memset(response + head, 'x', bytes);
	watch(listener, EPOLLIN, listener);
	for (;;) {
		n = epoll_wait(epfd, events, BATCH, -1);
		for (i = 0; i < n; i++) {
			fd = events[i].data.fd;
			if (fd == listener) {
				accept_all(listener);
				continue;
			}
			if (recv(fd, buffer, sizeof(buffer), 0) > 0)
				send(fd, response, head + bytes, MSG_NOSIGNAL);
			close(fd);
		}
	}
}

/* Echoes what a flow sends, and holds it until the peer closes. */
static void serve_hold(const char *port)
{
	struct epoll_event events[BATCH];
	int listener = listen_on(SOCK_STREAM, port), i, n, fd;
	ssize_t got;

	watch(listener, EPOLLIN, listener);
	for (;;) {
		n = epoll_wait(epfd, events, BATCH, -1);
		for (i = 0; i < n; i++) {
			fd = events[i].data.fd;
			if (fd == listener) {
				accept_all(listener);
				continue;
			}
			got = recv(fd, buffer, sizeof(buffer), 0);
			if (got <= 0 || send(fd, buffer, got, MSG_NOSIGNAL) != got)
				close(fd);
		}
	}
}

/* A datagram is answered from the address it was sent to, whichever of this host's that is. */
static void serve_udp_echo(const char *port)
{
	int fd = listen_on(SOCK_DGRAM, port), one = 1;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	} control;
	struct sockaddr_storage from;
	struct iovec datagram = { .iov_base = buffer };
	struct msghdr message = { .msg_name = &from, .msg_iov = &datagram, .msg_iovlen = 1 };
	struct cmsghdr *header;
	ssize_t n;

	wake_first();
	setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	for (;;) {
		datagram.iov_len = sizeof(buffer);
		message.msg_namelen = sizeof(from);
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		n = recvmsg(fd, &message, 0);
		if (n < 0)
			continue;
		header = CMSG_FIRSTHDR(&message);
		if (header && header->cmsg_type == IPV6_PKTINFO)
			((struct in6_pktinfo *)CMSG_DATA(header))->ipi6_ifindex = 0;
		datagram.iov_len = n;
		sendmsg(fd, &message, 0);
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[1] : "";

	start();
	if (!strcmp(mode, "http") && argc == 4)
		serve_http(argv[2], strtoul(argv[3], NULL, 10));
	else if (!strcmp(mode, "hold") && argc == 3)
		serve_hold(argv[2]);
	else if (!strcmp(mode, "udp-echo") && argc == 3)
		serve_udp_echo(argv[2]);
	fprintf(stderr, "loadserver: see the head of loadserver.c for its arguments\n");
	return 2;
}
