/* SPDX-License-Identifier: Apache-2.0 */
/* Life of a server. */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Left to the storage and others when connections are fitted into the limit of open files. */
enum { SPARE_FILES = 24 };

/* Connections beyond the limit that are still told so; libmicrohttpd closes those beyond. */
enum { SURPLUS_CONNECTIONS = 32 };

/* Refuse what the protocol forbids (level 1 of later versions is what they call strict). */
#if MHD_VERSION >= 0x00097701
#define STRICTNESS MHD_OPTION_CLIENT_DISCIPLINE_LVL
#else
#define STRICTNESS MHD_OPTION_STRICT_FOR_CLIENT
#endif

int pra_server_opts_init(pra_server_opts *opts, size_t size)
{
    if (!opts || size < sizeof(opts->size))
        return PRA_ERR_INVALID_ARG;
    memset(opts, 0, size);
    opts->size = size;
    return PRA_OK;
}

/* ---- options */

static void default_u32(uint32_t *field, uint32_t value)
{
    if (*field == 0)
        *field = value;
}

static int read_opts(const pra_server_opts *opts, pra_server_opts *out)
{
    size_t known = sizeof(*out), given = opts ? opts->size : 0;
    memset(out, 0, known);
    if (opts && given < sizeof(opts->size))
        return PRA_ERR_INVALID_ARG;
    for (size_t i = known; i < given; i++)
        if (((const char *)opts)[i])
            return PRA_ERR_UNSUPPORTED_OPTION;
    if (opts)
        memcpy(out, opts, given < known ? given : known);
    default_u32(&out->max_connections, 4096);
    if (out->max_connections > INT32_MAX)
        out->max_connections = INT32_MAX;
    default_u32(&out->workers, 8);
    default_u32(&out->idle_timeout_ms, 360000);
    default_u32(&out->header_timeout_ms, 10000);
    default_u32(&out->body_timeout_ms, 60000);
    default_u32(&out->worker_wait_ms, 30000);
    default_u32(&out->max_concurrent_reads, 10);
    if (out->max_pending_bytes == 0)
        out->max_pending_bytes = UINT64_C(512) << 20;
    if (out->stack_bytes == 0)
        out->stack_bytes = UINT64_C(1) << 20;
    return PRA_OK;
}

/* ---- making */

static int init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr))
        return PRA_ERR_NOMEM;
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int rc = pthread_cond_init(cond, &attr);
    (void)pthread_condattr_destroy(&attr);
    return rc ? PRA_ERR_NOMEM : PRA_OK;
}

/* The default mutex of Linux needs no memory, so its initialisation cannot fail. */
static int init_locks(pra_server *s)
{
    (void)pthread_mutex_init(&s->life_lock, NULL);
    (void)pthread_mutex_init(&s->conns_lock, NULL);
    (void)pthread_mutex_init(&s->workers_lock, NULL);
    (void)pthread_mutex_init(&s->checker_lock, NULL);
    (void)pthread_mutex_init(&s->metrics.lock, NULL);
    pthread_cond_t *const conds[] = {&s->conns_changed, &s->worker_free, &s->read_done};
    size_t made = 0, count = sizeof(conds) / sizeof(conds[0]);
    while (made < count && init_cond(conds[made]) == PRA_OK)
        made++;
    s->has_conds = made == count;
    while (!s->has_conds && made > 0)
        (void)pthread_cond_destroy(conds[--made]);
    return s->has_conds ? PRA_OK : PRA_ERR_NOMEM;
}

static void destroy_locks(pra_server *s)
{
    (void)pthread_mutex_destroy(&s->life_lock);
    (void)pthread_mutex_destroy(&s->conns_lock);
    (void)pthread_mutex_destroy(&s->workers_lock);
    (void)pthread_mutex_destroy(&s->checker_lock);
    (void)pthread_mutex_destroy(&s->metrics.lock);
    if (s->has_conds) {
        (void)pthread_cond_destroy(&s->conns_changed);
        (void)pthread_cond_destroy(&s->worker_free);
        (void)pthread_cond_destroy(&s->read_done);
    }
}

static int copy_description(pra_server *s)
{
    if (!s->opts.description_cstr)
        return PRA_OK;
    size_t size = strlen(s->opts.description_cstr) + 1;
    s->description = pra__take(s, NULL, 0, size);
    if (!s->description)
        return PRA_ERR_NOMEM;
    memcpy(s->description, s->opts.description_cstr, size);
    return PRA_OK;
}

static int make_unavailable(pra_server *s)
{
    static char text[] = "out of memory: try again later\n";
    s->unavailable =
        MHD_create_response_from_buffer(sizeof(text) - 1, text, MHD_RESPMEM_PERSISTENT);
    if (s->unavailable)
        (void)MHD_add_response_header(s->unavailable, "Connection", "close");
    return s->unavailable ? PRA_OK : PRA_ERR_NOMEM;
}

static int listen_all(pra_server *s, pra_error *err)
{
    static const char *const usual[] = {"127.0.0.1:9201"};
    const char *const *addresses = s->opts.listen_cstr ? s->opts.listen_cstr : usual;
    size_t count = s->opts.listen_cstr ? s->opts.listen_count : 1;
    s->opts.listen_cstr = NULL; /* borrowed for this call only */
    if (count == 0)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "no address to listen on");
    s->listeners = pra__take(s, NULL, 0, count * sizeof(*s->listeners));
    if (!s->listeners)
        return PRA_ERR_NOMEM;
    memset(s->listeners, 0, count * sizeof(*s->listeners));
    s->listener_capacity = count;
    for (; s->listener_count < count; s->listener_count++) {
        int rc = pra__listen(addresses[s->listener_count], &s->listeners[s->listener_count], err);
        if (rc)
            return rc;
    }
    return PRA_OK;
}

static int make(pra_server *s, pra_error *err)
{
    int rc = init_locks(s);
    if (!rc)
        rc = copy_description(s);
    if (!rc)
        rc = make_unavailable(s);
    if (!rc && (s->opts.web_config_file_cstr || s->opts.bearer_token_file_cstr))
        rc = pra__door_new(&s->alloc, &s->log.sink, s->opts.web_config_file_cstr,
                           s->opts.bearer_token_file_cstr, &s->door, err);
    s->opts.web_config_file_cstr = s->opts.bearer_token_file_cstr = NULL; /* borrowed, as above */
    if (!rc)
        rc = pra__workers_init(s);
    return rc ? rc : listen_all(s, err);
}

int pra_server_new(const pra_alloc *alloc, pra_handler *handler, const pra_server_opts *opts,
                   pra_server **out, pra_error *err)
{
    pra_error own = {0};
    if (!err)
        err = &own;
    if (!handler || !out)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "a server needs a handler");
    pra_server_opts known;
    int rc = read_opts(opts, &known);
    if (rc)
        return pra_error_set_cstr(err, rc, pra_strerror(rc));
    pra_alloc a = alloc ? *alloc : *pra_alloc_libc();
    pra_server *s = a.fn(a.ctx, NULL, 0, sizeof(*s));
    if (!s)
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    memset(s, 0, sizeof(*s));
    s->alloc = a;
    s->handler = handler;
    s->opts = known;
    s->log.sink = known.log;
    s->surplus = SURPLUS_CONNECTIONS;
    s->lenient_heads = pra__has_lenient_heads();
    pra_limits limits = {.size = sizeof(limits)};
    (void)pra_handler_limits(handler, &limits);
    s->max_body_bytes = limits.max_body_bytes;
    err->code = PRA_OK;
    rc = make(s, err);
    if (rc) {
        if (err->code == PRA_OK)
            (void)pra_error_set_cstr(err, rc, pra_strerror(rc));
        pra_server_free(s);
        return rc;
    }
    *out = s;
    return PRA_OK;
}

void pra_server_free(pra_server *server)
{
    if (!server)
        return;
    pra_alloc a = server->alloc;
    (void)pra_server_stop(server, 0);
    for (size_t i = 0; i < server->listener_count; i++)
        if (server->listeners[i].fd >= 0)
            (void)close(server->listeners[i].fd);
    pra__give(server, server->listeners, server->listener_capacity * sizeof(*server->listeners));
    pra__workers_fini(server);
    pra__door_free(server->door);
    if (server->unavailable)
        MHD_destroy_response(server->unavailable);
    if (server->description)
        pra__give(server, server->description, strlen(server->description) + 1);
    destroy_locks(server);
    (void)a.fn(a.ctx, server, sizeof(*server), 0);
}

uint16_t pra_server_port(const pra_server *server, size_t index)
{
    return server && index < server->listener_count ? server->listeners[index].port : 0;
}

int pra_server_is_tls(const pra_server *server)
{
    return server && pra__door_has_tls(server->door);
}

/* ---- starting and stopping */

/* libmicrohttpd says here too when the process can have no more threads (it closes the connection
 * and goes on) or files (it tries again at once, without end: so it is slowed down). */
static void mhd_log(void *cls, const char *fmt, va_list args)
{
    pra_server *s = cls;
    bool threads = strstr(fmt, "create a new thread"), files = strstr(fmt, "resource limit");
    char text[256], quoted[300] = "";
    uint64_t dropped;
    if (strstr(fmt, "Error processing request")) /* refused before we saw it, or in its body */
        pra__metrics_refused(&s->metrics, "http");
    if (files) {
        const struct timespec pause = {0, 100 * 1000000};
        (void)nanosleep(&pause, NULL);
    }
    (void)vsnprintf(text, sizeof(text), fmt, args);
    text[strcspn(text, "\n")] = 0;
    (void)pra__log_value(quoted, sizeof(quoted), 0, text, strlen(text));
    if (!threads && !files)
        pra__log_write(&s->log.sink, PRA_LOG_DEBUG, "http", "detail=%s", quoted);
    else if (pra__log_allowed(&s->log, &dropped))
        pra__log_write(&s->log.sink, PRA_LOG_WARN, "connection refused: too few threads or files",
                       "detail=%s", quoted);
}

/* Accepting more connections than there are files for them would fail again and again. */
static void fit_connections(pra_server *s)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur == RLIM_INFINITY)
        return;
    uint64_t used = pra__open_files() + SPARE_FILES;
    uint64_t most = files.rlim_cur > used ? (files.rlim_cur - used) / s->listener_count : 0;
    if (most < 2)
        most = 2;
    if (s->opts.max_connections + (uint64_t)s->surplus <= most)
        return;
    s->surplus = (uint32_t)most / 4;
    s->opts.max_connections = (uint32_t)most - s->surplus;
    pra__log_write(&s->log.sink, PRA_LOG_WARN,
                   "the limit of open files lowers the number of connections",
                   "max_connections=%" PRIu32 " open_files_limit=%" PRIu64, s->opts.max_connections,
                   (uint64_t)files.rlim_cur);
}

static struct MHD_Daemon *start_daemon(pra_server *s, pra__listener *l)
{
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                     MHD_USE_POLL | MHD_USE_ITC | MHD_USE_ERROR_LOG | pra__entrance_flags(s);
    if (l->shown[0] == '[')
        flags |= MHD_USE_IPv6;
    return MHD_start_daemon(
        flags, 0, NULL, NULL, pra__request, s, MHD_OPTION_EXTERNAL_LOGGER, mhd_log, s,
        MHD_OPTION_LISTEN_SOCKET, l->fd, MHD_OPTION_CONNECTION_LIMIT,
        s->opts.max_connections + s->surplus, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, 0u, STRICTNESS, 1,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)s->opts.stack_bytes, MHD_OPTION_NOTIFY_CONNECTION,
        pra__conn_notify, s, MHD_OPTION_URI_LOG_CALLBACK, pra__request_line, s,
        MHD_OPTION_NOTIFY_COMPLETED, pra__request_completed, s, MHD_OPTION_ARRAY,
        pra__entrance_options(s), MHD_OPTION_END);
}

static void stop_daemons(pra_server *s)
{
    for (size_t i = 0; i < s->listener_count; i++) {
        if (s->listeners[i].daemon)
            MHD_stop_daemon(s->listeners[i].daemon);
        s->listeners[i].daemon = NULL;
    }
}

/* The listening sockets stay ours: libmicrohttpd is told to forget them before it stops. */
static void quiesce(pra_server *s)
{
    for (size_t i = 0; i < s->listener_count; i++)
        if (s->listeners[i].daemon) {
            (void)MHD_quiesce_daemon(s->listeners[i].daemon);
            (void)shutdown(s->listeners[i].fd, SHUT_RDWR);
        }
}

/* life_lock is held. */
static int start(pra_server *s, pra_error *err)
{
    if (s->life != PRA__NEW)
        return pra_error_set_cstr(err, PRA_ERR_STATE, "the server has been started before");
    fit_connections(s);
    pra__entrance_announce(s);
    int rc = pra__conns_start(s);
    if (rc)
        return pra_error_set_cstr(err, rc, "cannot start a thread");
    for (size_t i = 0; i < s->listener_count && !rc; i++) {
        s->listeners[i].daemon = start_daemon(s, &s->listeners[i]);
        rc = s->listeners[i].daemon ? PRA_OK : PRA_ERR_IO;
    }
    if (rc) {
        quiesce(s);
        stop_daemons(s);
        pra__conns_stop(s);
        s->life = PRA__STOPPED;
        return pra_error_set_cstr(err, rc, "cannot start the HTTP server: out of threads or files");
    }
    s->life = PRA__RUNNING;
    return PRA_OK;
}

int pra_server_start(pra_server *server, pra_error *err)
{
    if (!server)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "a server is missing");
    pthread_mutex_lock(&server->life_lock);
    int rc = start(server, err);
    pthread_mutex_unlock(&server->life_lock);
    return rc;
}

/* Returns the number of requests that are still in flight after grace_ms. */
static size_t wait_for_requests(pra_server *s, uint32_t grace_ms)
{
    uint64_t end = pra__now_us() + (uint64_t)grace_ms * 1000;
    struct timespec until = {(time_t)(end / 1000000), (long)(end % 1000000) * 1000};
    int rc = 0;
    pthread_mutex_lock(&s->conns_lock);
    while (s->in_flight && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&s->conns_changed, &s->conns_lock, &until);
    size_t left = s->in_flight;
    pthread_mutex_unlock(&s->conns_lock);
    return left;
}

int pra_server_stop(pra_server *server, uint32_t grace_ms)
{
    pra_server *s = server;
    if (!s)
        return PRA_ERR_INVALID_ARG;
    pthread_mutex_lock(&s->life_lock);
    if (s->life != PRA__RUNNING) {
        pthread_mutex_unlock(&s->life_lock);
        return PRA_OK;
    }
    atomic_store(&s->stopping, true);
    quiesce(s);
    size_t left = wait_for_requests(s, grace_ms);
    pthread_mutex_lock(&s->workers_lock);
    s->cut = true;
    pthread_cond_broadcast(&s->worker_free);
    pthread_cond_broadcast(&s->read_done);
    pthread_mutex_unlock(&s->workers_lock);
    pra__conns_end(
        s); /* libmicrohttpd 0.9.75 crashes if it is stopped during a malformed request */
    stop_daemons(s);
    pra__conns_stop(s);
    s->life = PRA__STOPPED;
    pthread_mutex_unlock(&s->life_lock);
    return left ? PRA_DONE : PRA_OK;
}
