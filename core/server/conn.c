/* SPDX-License-Identifier: Apache-2.0 */
/* The list of connections and the deadlines they have to keep. */
#define _GNU_SOURCE /* POLLRDHUP */
#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define NEVER UINT64_MAX
enum { LOOK_MS = 50 };

/* An answered client that still sends is read on until it has been silent for so many looks in a
 * row: counted, not timed, so that a machine that stands still is not taken for its silence. */
enum { LINGER_LOOKS = 20, LINGER_LOOK_MS = 100 };

/* What a client has to take of an answer in the time it has, to get as much time again. */
enum { PROGRESS_BYTES = 16 << 10 };

uint64_t pra__now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Bytes received on the socket, or acknowledged by the peer, since it was opened: the only signs of
 * a first byte or of progress that libmicrohttpd does not hide. */
static uint64_t socket_mark(int fd, enum pra__phase phase)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    memset(&info, 0, sizeof(info));
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
        return 0;
    return phase == PRA__SENDING ? info.tcpi_bytes_acked : info.tcpi_bytes_received;
}

static uint64_t phase_deadline(const pra__conn *c, enum pra__phase phase)
{
    const pra_server *s = c->server;
    switch (phase) {
    case PRA__IDLE:
        return pra__now_ms() + (c->surplus ? s->opts.header_timeout_ms : s->opts.idle_timeout_ms);
    case PRA__HEAD:
        return pra__now_ms() + s->opts.header_timeout_ms;
    case PRA__BODY:
    case PRA__SENDING:
        return pra__now_ms() + s->opts.body_timeout_ms;
    case PRA__BUSY:
        break;
    }
    return NEVER;
}

/* What more has come than this, belongs to a request that has begun: it may have come together with
 * the one before, or before the connection was accepted. With TLS what came cannot be compared with
 * what requests took, so that only what comes from now on counts. */
static uint64_t idle_mark(const pra__conn *c)
{
    return c->tls_rules ? socket_mark(c->fd, PRA__IDLE) : c->taken;
}

static void enter(pra__conn *c, enum pra__phase phase)
{
    c->phase = phase;
    c->deadline_ms = phase_deadline(c, phase);
    c->mark = phase == PRA__IDLE      ? idle_mark(c)
              : phase == PRA__SENDING ? socket_mark(c->fd, phase)
                                      : 0;
}

/* A request has begun on a connection that is idle. conns_lock is held. */
static bool has_begun(const pra__conn *c)
{
    return socket_mark(c->fd, PRA__IDLE) > c->mark;
}

void pra__conn_enter(pra__conn *c, enum pra__phase phase)
{
    pthread_mutex_lock(&c->server->conns_lock);
    if (c->phase != phase)
        enter(c, phase);
    pthread_mutex_unlock(&c->server->conns_lock);
}

void pra__conn_begin(pra__conn *c)
{
    c->begun = true;
    c->began_us = pra__now_us();
    pthread_mutex_lock(&c->server->conns_lock);
    c->server->in_flight++;
    enter(c, PRA__BODY);
    pthread_mutex_unlock(&c->server->conns_lock);
}

void pra__conn_done(pra__conn *c)
{
    pra_server *s = c->server;
    pthread_mutex_lock(&s->conns_lock);
    c->taken += c->head_bytes + c->body_announced;
    enter(c, PRA__IDLE);
    if (c->begun && --s->in_flight == 0)
        pthread_cond_broadcast(&s->conns_changed);
    pthread_mutex_unlock(&s->conns_lock);
    c->begun = false;
}

double pra__conn_seconds(const pra__conn *c)
{
    return (double)(pra__now_us() - c->began_us) / 1e6;
}

int pra__conn_is_gone(void *conn)
{
    pra__conn *c = conn;
    const uint64_t now = pra__now_ms();
    uint64_t next = atomic_load(&c->next_look_ms);
    if (now >= next && atomic_compare_exchange_strong(&c->next_look_ms, &next, now + LOOK_MS)) {
        struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
        if (poll(&p, 1, 0) > 0)
            atomic_store(&c->gone, true);
    }
    return atomic_load(&c->gone);
}

void pra__conn_abort(pra__conn *c)
{
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    (void)connect(c->fd, &none, sizeof(none)); /* dissolves it; closing alone would end it well */
}

/* Ends a connection from outside: the thread that owns it wakes up and cleans up. */
static void cut(pra__conn *c)
{
    if (atomic_load(&c->streaming))
        pra__conn_abort(c);
    (void)shutdown(c->fd, SHUT_RDWR);
}

void pra__conn_linger(pra__conn *c)
{
    char waste[16384];
    int silent = 0;
    pra__conn_enter(c, PRA__BODY); /* and the watchdog ends it */
    pra__entrance_bye(c);
    (void)shutdown(c->fd, SHUT_WR);
    while (silent < LINGER_LOOKS) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        (void)poll(&p, 1, LINGER_LOOK_MS);
        ssize_t n = recv(c->fd, waste, sizeof(waste), MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
            break;
        silent = n > 0 ? 0 : silent + 1;
    }
}

/* ---- the watchdog */

static const char *overdue(enum pra__phase phase)
{
    switch (phase) {
    case PRA__IDLE:
        return "idle";
    case PRA__HEAD:
        return "header";
    case PRA__BODY:
        return "body";
    default:
        return "sending";
    }
}

/* Brings one connection's deadline up to date; cuts it off and returns true when its time is up. */
static bool inspect(pra__conn *c, uint64_t now)
{
    if (c->phase == PRA__IDLE && has_begun(c))
        enter(c, PRA__HEAD);
    if (c->phase == PRA__SENDING && socket_mark(c->fd, c->phase) >= c->mark + PROGRESS_BYTES)
        enter(c, PRA__SENDING);
    if (now < c->deadline_ms)
        return false;
    if (c->phase != PRA__IDLE)
        pra__metrics_refused(&c->server->metrics, "timeout");
    c->deadline_ms = NEVER;
    cut(c);
    return true;
}

/* Looks at all connections, and logs what it did when the lock is free again. */
static void inspect_all(pra_server *s)
{
    char remote[sizeof(s->conns->remote)] = "";
    const char *why = "";
    unsigned count = 0;
    uint64_t now = pra__now_ms();
    for (pra__conn *c = s->conns; c; c = c->next)
        if (inspect(c, now)) {
            count++;
            memcpy(remote, c->remote, sizeof(remote));
            why = overdue(c->phase);
        }
    if (count == 0)
        return;
    pthread_mutex_unlock(&s->conns_lock);
    pra__log_write(&s->log.sink, PRA_LOG_DEBUG, "connections timed out",
                   "count=%u last=%s timeout=%s", count, remote, why);
    pthread_mutex_lock(&s->conns_lock);
}

static uint32_t tick_ms(const pra_server_opts *o)
{
    uint32_t least = o->idle_timeout_ms;
    if (o->header_timeout_ms < least)
        least = o->header_timeout_ms;
    if (o->body_timeout_ms < least)
        least = o->body_timeout_ms;
    least /= 8;
    return least < 5 ? 5 : least > 500 ? 500 : least;
}

static void *watch(void *arg)
{
    pra_server *s = arg;
    uint32_t tick = tick_ms(&s->opts);
    pthread_mutex_lock(&s->conns_lock);
    while (!s->watchdog_stop) {
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)tick * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&s->conns_changed, &s->conns_lock, &until);
        inspect_all(s);
    }
    pthread_mutex_unlock(&s->conns_lock);
    return NULL;
}

int pra__conns_start(pra_server *s)
{
    return pthread_create(&s->watchdog, NULL, watch, s) ? PRA_ERR_NOMEM : PRA_OK;
}

void pra__conns_stop(pra_server *s)
{
    pthread_mutex_lock(&s->conns_lock);
    s->watchdog_stop = true;
    pthread_cond_broadcast(&s->conns_changed);
    pthread_mutex_unlock(&s->conns_lock);
    (void)pthread_join(s->watchdog, NULL);
}

void pra__conns_end(pra_server *s)
{
    pthread_mutex_lock(&s->conns_lock);
    for (pra__conn *c = s->conns; c; c = c->next)
        cut(c);
    while (s->conns)
        (void)pthread_cond_wait(&s->conns_changed, &s->conns_lock);
    pthread_mutex_unlock(&s->conns_lock);
}

/* ---- opening and closing */

static void describe(pra__conn *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char host[INET6_ADDRSTRLEN] = "";
    if (!info || !info->client_addr)
        return;
    if (info->client_addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const void *)info->client_addr;
        inet_ntop(AF_INET6, &a->sin6_addr, host, sizeof(host));
        (void)snprintf(c->remote, sizeof(c->remote), "[%s]:%u", host, ntohs(a->sin6_port));
    } else if (info->client_addr->sa_family == AF_INET) {
        const struct sockaddr_in *a = (const void *)info->client_addr;
        inet_ntop(AF_INET, &a->sin_addr, host, sizeof(host));
        (void)snprintf(c->remote, sizeof(c->remote), "%s:%u", host, ntohs(a->sin_port));
    }
}

/* The connection that has been idle longest, or NULL. conns_lock is held. */
static pra__conn *longest_idle(pra_server *s)
{
    pra__conn *found = NULL;
    for (pra__conn *c = s->conns; c; c = c->next)
        if (c->phase == PRA__IDLE && !c->surplus && c->deadline_ms != NEVER &&
            (!found || c->deadline_ms < found->deadline_ms))
            found = c;
    return found;
}

/* Closes one idle connection. false: there is none. */
static bool make_room(pra_server *s)
{
    pra__conn *c;
    pthread_mutex_lock(&s->conns_lock);
    while ((c = longest_idle(s)) && has_begun(c))
        enter(c, PRA__HEAD);
    if (c) {
        c->deadline_ms = NEVER;
        (void)shutdown(c->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&s->conns_lock);
    atomic_fetch_add(&s->metrics.evicted, c != NULL);
    return c;
}

static pra__conn *open_conn(pra_server *s, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    pra__conn *c = info ? pra__take(s, NULL, 0, sizeof(*c)) : NULL;
    if (!c)
        return NULL;
    memset(c, 0, sizeof(*c));
    c->server = s;
    c->mhd = mhd;
    c->fd = info->connect_fd;
    c->surplus = atomic_fetch_add(&s->metrics.connections, 1) >=
                     s->opts.max_connections * s->listener_count &&
                 !make_room(s);
    describe(c);
    bool usable = pra__entrance_open(c);
    pthread_mutex_lock(&s->conns_lock);
    enter(c,
          c->tls_rules ? PRA__HEAD : PRA__IDLE); /* a handshake may not take longer than a head */
    c->next = s->conns;
    if (c->next)
        c->next->prev = c;
    s->conns = c;
    if (!usable ||
        atomic_load(&s->stopping)) /* it was accepted just before; pra__conns_end waits for it */
        (void)shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&s->conns_lock);
    return c;
}

static void close_conn(pra__conn *c)
{
    pra_server *s = c->server;
    pthread_mutex_lock(&s->conns_lock);
    if (c->next)
        c->next->prev = c->prev;
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (!s->conns)
        pthread_cond_broadcast(&s->conns_changed);
    pthread_mutex_unlock(&s->conns_lock);
    pra__entrance_leave(c);
    pra__entrance_close(c);
    pra__give(s, c->target, c->target_cap);
    pra__give(s, c->headers, c->header_cap * sizeof(*c->headers));
    pra__give(s, c, sizeof(*c));
    atomic_fetch_sub(&s->metrics.connections, 1);
}

void pra__conn_notify(void *cls, struct MHD_Connection *mhd, void **context,
                      enum MHD_ConnectionNotificationCode what)
{
    pra_server *s = cls;
    atomic_fetch_add(&s->metrics.accepted, what == MHD_CONNECTION_NOTIFY_STARTED);
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        *context = open_conn(s, mhd);
    else if (*context)
        close_conn(*context);
}
