/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file pra_server.h
 * libpra_server: a pra_handler behind an HTTP/1.1 server with threads of its own.
 *
 * Serves, beside what the handler answers (any path whose last segment is write, receive or read):
 * GET|HEAD / (a page that says what runs here), /metrics, /-/healthy, /-/ready.
 *
 * One thread per connection reads requests; at most `workers` of them are in the handler at one
 * time. A request takes a worker only when its whole body is there, and leaves it before its answer
 * is sent, so slow clients hold no worker, and memory bounded by max_pending_bytes: once for
 * bodies, once for answers over 256 KiB. A streamed answer is made while it is sent, on the
 * connection's thread: it holds no worker either, but its place among max_concurrent_reads and the
 * memory of one request (with read, or a process_query without PRA_STORAGE_ORDERED: of one answer,
 * max_response_bytes). What is asked of its storage meanwhile may run at the same time as other
 * requests with the same pra_context_worker.
 *
 * A read ends at its next series or piece, with PRA_ERR_CANCELLED, when the client has closed its
 * side of the connection, if only for sending: that is how clients give up. Writes are carried out.
 * pra_context_host is the server's own.
 */
#ifndef PRA_SERVER_H
#define PRA_SERVER_H

#include "pra.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pra_server pra_server;

enum { PRA_LOG_DEBUG = 0, PRA_LOG_INFO = 1, PRA_LOG_WARN = 2, PRA_LOG_ERROR = 3 };

/** Where log lines go: fields is logfmt without time and level (`msg="…" key=value`; quoted values
 * are escaped as JSON strings are). Called from any thread, also at the same time. */
typedef struct pra_log {
    void *ctx;
    void (*fn)(void *ctx, int32_t level, const char *fields_cstr);
} pra_log;

/** Times are in milliseconds. */
typedef struct pra_server_opts {
    size_t size;
    /** "HOST:PORT" each; an IPv6 address in brackets, port 0 = any free one, no host = every
     * address of this machine; NULL = one, "127.0.0.1:9201". Only read by pra_server_new. */
    const char *const *listen_cstr;
    size_t listen_count;
    uint32_t max_connections; /**< per listen address; for one more the longest idle one is closed;
                                   if none is idle, some get 503 and others wait or are closed;
                                   lowered to what the limit of open files allows; default 4,096,
                                   some 50 KiB each when idle */
    uint32_t workers;         /**< requests in the handler at one time; default 8 */
    uint32_t idle_timeout_ms; /**< between requests; default 360,000: longer than a Go client's 5
                                 minutes, so that it closes first */
    uint32_t
        header_timeout_ms;    /**< from the first byte to the end of the headers; default 10,000 */
    uint32_t body_timeout_ms; /**< from the end of the headers to the end of the body, and for a
                                 client to take each 16 KiB of its answer; default 60,000 */
    uint32_t worker_wait_ms;  /**< how long a request waits for a worker before it gets 503;
                                 default 30,000 */
    pra_log log;              /**< fn NULL = no log */
    const char *description_cstr; /**< what the page at / says about the storage; NULL = nothing;
                                     copied */
    uint64_t max_pending_bytes;   /**< bodies that have arrived and wait for their end or a worker,
                                     together; past it 503; default 512 MiB. As much
                                     again for large answers that are being sent */
    uint64_t stack_bytes;         /**< of a connection's thread, where storage callbacks run;
                                     default 1 MiB */
    /** TLS, passwords, headers of answers and a rate limit: a file in the format of Prometheus'
     * --web.config.file. NULL = none. Only read by pra_server_new, as the next one; the files are
     * read again when they change, and apply to new connections (TLS) and requests. */
    const char *web_config_file_cstr;
    /** Bearer tokens of which each request must have one (or a user name and password, if there are
     * users): a line each, "TOKEN" or "NAME TOKEN"; the name becomes pra_context_user. NULL = none.
     */
    const char *bearer_token_file_cstr;
    uint32_t max_concurrent_reads; /**< in the storage or with a streamed answer on its way; a
                                      further one waits up to worker_wait_ms, then gets 503;
                                      default 10 */
    uint32_t reserved;
} pra_server_opts;

/** Zeroes size bytes and sets size. */
PRA_API int pra_server_opts_init(pra_server_opts *opts, size_t size);

/** Binds and listens, does not yet answer. The handler is borrowed until pra_server_free. Returns
 * new (free with pra_server_free); PRA_ERR_IO if an address cannot be had; PRA_ERR_INVALID_ARG with
 * file and line if web_config_file_cstr or bearer_token_file_cstr cannot be used. */
PRA_API int pra_server_new(const pra_alloc *alloc, pra_handler *handler,
                           const pra_server_opts *opts, pra_server **out, pra_error *err);
/** Starts the threads and returns. Once. */
PRA_API int pra_server_start(pra_server *server, pra_error *err);
/** The port of listen address number index, as bound. 0 if there is none. */
PRA_API uint16_t pra_server_port(const pra_server *server, size_t index);
/** 1 if it speaks HTTPS, 0 if HTTP. */
PRA_API int pra_server_is_tls(const pra_server *server);
/** Stops: not ready, no new connections, 503 for new requests, waits up to grace_ms for those in
 * flight, then closes; a storage callback that is still running is waited for, since a thread
 * cannot be taken away. From any thread but a server's own. Returns PRA_OK, or PRA_DONE if requests
 * were cut off. Again, or before start: PRA_OK at once. */
PRA_API int pra_server_stop(pra_server *server, uint32_t grace_ms);
/** Stops (without grace) if need be; NULL is allowed. */
PRA_API void pra_server_free(pra_server *server);

/** An executor for pra_handler_opts: runs up to 8 queries of one request at a time on short-lived
 * threads. Static. */
PRA_API const pra_executor *pra_server_executor(void);

#ifdef __cplusplus
}
#endif
#endif /* PRA_SERVER_H */
