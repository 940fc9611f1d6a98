/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets. */
#include "internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int fail(pra_error *err, int32_t code, const char *address, const char *why)
{
    char text[240];
    (void)snprintf(text, sizeof(text), "cannot listen on %s: %s", address, why);
    return pra_error_set_cstr(err, code, text);
}

static const char *remedy(int number)
{
    switch (number) {
    case EADDRINUSE:
        return "another program uses this port: stop it, or listen on another one";
    case EADDRNOTAVAIL:
        return "this machine has no such address: use one of its own, or 127.0.0.1";
    case EACCES:
        return "ports below 1024 need privileges: use a higher one";
    default:
        return strerror(number);
    }
}

/* Splits "HOST:PORT" or "[HOST]:PORT". Returns 0 if it is neither. */
static int split(const char *address, char *host, size_t host_cap, const char **port)
{
    const char *colon = strrchr(address, ':');
    if (!colon || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return 0;
    const char *start = address;
    size_t len = (size_t)(colon - address);
    if (len >= 2 && start[0] == '[' && start[len - 1] == ']') {
        start++;
        len -= 2;
    } else if (memchr(start, ':', len)) {
        return 0;
    }
    if (len >= host_cap)
        return 0;
    memcpy(host, start, len);
    host[len] = 0;
    *port = colon + 1;
    return strtoul(*port, NULL, 10) <= UINT16_MAX;
}

/* A listening socket on one resolved address, or -1 with errno. any: both IP versions. */
static int open_one(const struct addrinfo *a, int any)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int on = 1, v6only = !any;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (a->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only));
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int keep = errno;
    (void)close(fd);
    errno = keep;
    return -1;
}

/* Port and printable form of a bound socket. */
static void describe(pra__listener *l)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof(bound);
    char host[64] = "", port[8] = "";
    if (getsockname(l->fd, (struct sockaddr *)&bound, &len) ||
        getnameinfo((struct sockaddr *)&bound, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV))
        return;
    l->port = (uint16_t)strtoul(port, NULL, 10);
    (void)snprintf(l->shown, sizeof(l->shown), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

int pra__listen(const char *address_cstr, pra__listener *out, pra_error *err)
{
    char host[256];
    const char *port;
    if (!split(address_cstr, host, sizeof(host), &port))
        return fail(err, PRA_ERR_INVALID_ARG, address_cstr,
                    "not HOST:PORT (an IPv6 address goes in brackets)");
    int any = host[0] == 0;
    struct addrinfo hints = {.ai_family = any ? AF_INET6 : AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(any ? NULL : host, port, &hints, &found);
    if (rc)
        return fail(err, PRA_ERR_IO, address_cstr, gai_strerror(rc));
    int fd = -1;
    for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next)
        fd = open_one(a, any);
    int number = errno;
    freeaddrinfo(found);
    if (fd < 0 && any && number == EAFNOSUPPORT) { /* no IPv6 here */
        char v4[32];
        (void)snprintf(v4, sizeof(v4), "0.0.0.0:%s", port);
        return pra__listen(v4, out, err);
    }
    if (fd < 0)
        return fail(err, PRA_ERR_IO, address_cstr, remedy(number));
    out->fd = fd;
    describe(out);
    return PRA_OK;
}
