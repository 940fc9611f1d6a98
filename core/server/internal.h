/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside libpra_server.
 *
 * libmicrohttpd runs one thread per connection, so storage callbacks may block. Three things bound
 * what clients can hold:
 * - A connection keeps the body of its request itself (pra__conn.body, growing with what has
 *   arrived, all bodies together under max_pending_bytes). Only a request that is complete takes a
 *   worker (workers.c), so a client that trickles its body holds a thread and its own bytes.
 * - Whether a request is acceptable is known from its head. It is asked of one spare exchange under
 *   a mutex (a few microseconds), so the rules are the handler's and a refusal needs no body.
 * - libmicrohttpd has one timeout, for inactivity. All deadlines are kept here instead: one thread
 *   looks at every connection (conn.c) and shuts the socket down when its time is up, which wakes
 *   the thread that owns it.
 */
#ifndef PRA_SERVER_INTERNAL_H
#define PRA_SERVER_INTERNAL_H

#include "pra_server.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "door.h"
#include "log.h"
#include "metrics.h"

/* Per connection, for the head and one read or write; libmicrohttpd clears all of it after each
 * request, so an idle connection holds it. A head of 24 KiB has room. */
enum { CONNECTION_BYTES = 32 << 10 };

/* An answer; status is 0 while there is none. With a status and without a response there was no
 * memory for it. */
typedef struct pra__answer {
    struct MHD_Response *response;
    unsigned status;
} pra__answer;

enum pra__phase {
    PRA__IDLE,   /* between requests; deadline: idle timeout */
    PRA__HEAD,   /* the first bytes of a request are there; header timeout */
    PRA__BODY,   /* reading the body; body timeout */
    PRA__BUSY,   /* waiting for or in a worker; none */
    PRA__SENDING /* body timeout since the client last took 16 KiB */
};

/* One connection; the request it carries lives in it. */
typedef struct pra__conn {
    pra_server *server;
    struct MHD_Connection *mhd;
    int fd;
    bool surplus;    /* opened beyond max_connections: gets nothing but the server's own pages */
    char remote[64]; /* "1.2.3.4:567" */
    pra__rules *tls_rules; /* that its TLS began with; NULL without TLS */
    bool client_is_good;   /* its certificate has been looked at */

    /* guarded by server->conns_lock */
    struct pra__conn *next, *prev;
    enum pra__phase phase;
    uint64_t deadline_ms;
    uint64_t mark;  /* bytes received or acknowledged when last looked at */
    uint64_t taken; /* bytes of the requests that are over */

    /* the request; touched by the connection's thread only */
    bool begun;
    bool linger; /* when it ends: the client may not have read its answer */
    bool chunked, expects;
    bool is_read;          /* of the read endpoint */
    bool reading;          /* has a place at the gate of the reads */
    atomic_bool streaming; /* its answer has no length: nothing but a reset shows where it broke */
    uint64_t began_us;
    const char *method;
    const char *raw_target; /* in libmicrohttpd's buffer; NULL if there was no memory for target */
    char *target;
    size_t target_len, target_cap;
    pra_header *headers;
    size_t header_count, header_cap;
    char *body;
    size_t body_len, body_cap;
    uint64_t body_total;     /* received, also when no longer kept */
    uint64_t body_announced; /* Content-Length, 0 without */
    size_t head_bytes;       /* with the empty line; 0 as long as it is not complete */
    pra__answer answer;
    pra__rules *rules; /* that it was judged by; NULL without a door */
    pra_str user;      /* in rules */

    /* touched by all threads that run its queries */
    atomic_bool gone;              /* the client has closed its side, or the connection is cut */
    _Atomic uint64_t next_look_ms; /* at the socket for that */
} pra__conn;

typedef struct pra__worker {
    pra_exchange *exchange; /* NULL until first used */
    uint32_t index;
    struct pra__worker *next_free;
} pra__worker;

typedef struct pra__listener {
    int fd;
    uint16_t port;
    char shown[80]; /* "127.0.0.1:9201" */
    struct MHD_Daemon *daemon;
} pra__listener;

struct pra_server {
    pra_alloc alloc;
    pra_handler *handler;
    pra_server_opts opts; /* every field set */
    char *description;
    uint64_t max_body_bytes;
    bool lenient_heads; /* libmicrohttpd reads heads leniently: see head.c */
    uint32_t surplus;   /* connections beyond max_connections that are answered with 503 */
    pra__listener *listeners;
    size_t listener_count, listener_capacity;
    pra__log log;
    pra__metrics metrics;
    pra__door *door; /* NULL: everybody may come in, without TLS */

    pthread_mutex_t life_lock; /* start and stop */
    enum { PRA__NEW, PRA__RUNNING, PRA__STOPPED } life;
    atomic_bool stopping; /* new requests get 503 */
    bool has_conds;

    pthread_mutex_t conns_lock;
    pthread_cond_t conns_changed; /* in_flight or conns fell to nothing, or watchdog_stop */
    pra__conn *conns;
    size_t in_flight;
    bool watchdog_stop;
    pthread_t watchdog;

    pthread_mutex_t workers_lock;
    pthread_cond_t worker_free;
    pra__worker *workers;
    pra__worker *free_workers;
    uint32_t reads; /* in the storage or streaming */
    pthread_cond_t read_done;
    bool cut; /* nobody gets a worker or a place any more */

    pthread_mutex_t checker_lock;
    pra_exchange *checker;

    struct MHD_Response *unavailable; /* 503 when there is no memory for anything else */
};

/* conn.c: monotonic */
uint64_t pra__now_us(void);
static inline uint64_t pra__now_ms(void)
{
    return pra__now_us() / 1000;
}

static inline void *pra__take(const pra_server *s, void *ptr, size_t old_size, size_t new_size)
{
    return s->alloc.fn(s->alloc.ctx, ptr, old_size, new_size);
}

static inline void pra__give(const pra_server *s, void *ptr, size_t size)
{
    if (ptr)
        (void)s->alloc.fn(s->alloc.ctx, ptr, size, 0);
}

/* listen.c */
/* Binds and listens; fills fd, port and shown. PRA_ERR_INVALID_ARG (address), PRA_ERR_IO. */
int pra__listen(const char *address_cstr, pra__listener *out, pra_error *err);

/* conn.c */
int pra__conns_start(pra_server *s);
void pra__conns_stop(pra_server *s);
/* Ends every connection and returns when none is left. */
void pra__conns_end(pra_server *s);
void pra__conn_notify(void *cls, struct MHD_Connection *mhd, void **context,
                      enum MHD_ConnectionNotificationCode what);
void pra__conn_enter(pra__conn *c, enum pra__phase phase);
/* The head of a request is complete: counts it as in flight until pra__conn_done. */
void pra__conn_begin(pra__conn *c);
void pra__conn_done(pra__conn *c);
/* pra_request_head.cancelled of its requests; looks at the socket now and then. From any thread
 * that works on the request. */
int pra__conn_is_gone(void *conn);
/* Resets the connection: its client sees that the answer is not whole. */
void pra__conn_abort(pra__conn *c);
/* Since pra__conn_begin. */
double pra__conn_seconds(const pra__conn *c);
/* Reads and drops what the client still sends, so that it can read an answer that came before its
 * body was taken, instead of being reset. */
void pra__conn_linger(pra__conn *c);

/* workers.c */
int pra__workers_init(pra_server *s);
void pra__workers_fini(pra_server *s);
/* worker_wait_ms from now. */
struct timespec pra__wait_end(const pra_server *s);
/* Waits up to that; NULL with err filled if there is none by then. */
pra__worker *pra__worker_take(pra_server *s, pra_error *err);
void pra__worker_give(pra_server *s, pra__worker *w);

/* answer.c */
/* Copies text; content_type may be NULL. */
void pra__answer_text(pra__answer *out, unsigned status, const char *content_type, const void *text,
                      size_t len);
/* One line of plain text; a newline is added. */
void pra__answer_line(pra__answer *out, unsigned status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void pra__answer_header(pra__answer *a, const char *name, const char *value);
/* The exchange's answer, copied whole. */
void pra__answer_copy(pra__answer *out, pra_server *s, pra_exchange *x);
/* Headers of the exchange's answer. */
void pra__answer_headers(pra__answer *out, const pra_exchange *x);
/* The exchange's answer; gives the worker back. */
void pra__answer_worker(pra__conn *c, pra__worker *w);

/* stream.c */
/* A read waits up to worker_wait_ms for its place. PRA_ERR_BUSY if there is none by then. */
int pra__read_enter(pra_server *s, pra_error *err);
void pra__read_leave(pra_server *s);
/* The streamed answer of w's exchange, which it takes from w together with the place of the read.
 * false: no memory, nothing has changed. */
bool pra__stream_answer(pra__conn *c, pra__worker *w);

/* head.c */
/* libmicrohttpd in use takes heads that are to be refused. */
bool pra__has_lenient_heads(void);
/* Fills headers, head_bytes, body_announced, chunked and expects of c from the request's head.
 * *wrong: NULL, or why it is to be refused, static; then the connection must end. Returns false if
 * there was no memory. */
bool pra__head_read(pra__conn *c, const char *version, const char **wrong);
/* Adds a header to those that were read; false if there was no memory. */
bool pra__head_add(pra__conn *c, pra_header header);

/* request.c: libmicrohttpd's callbacks */
enum MHD_Result pra__request(void *cls, struct MHD_Connection *mhd, const char *url,
                             const char *method, const char *version, const char *data,
                             size_t *data_len, void **context);
void *pra__request_line(void *cls, const char *uri, struct MHD_Connection *mhd);
void pra__request_completed(void *cls, struct MHD_Connection *mhd, void **context,
                            enum MHD_RequestTerminationCode code);

/* entrance.c: what the door (door.h) has to do with connections and requests */
unsigned pra__entrance_flags(const pra_server *s);
const struct MHD_OptionItem *pra__entrance_options(const pra_server *s);
/* Says in the log what is not guarded. */
void pra__entrance_announce(const pra_server *s);
int pra__entrance_metrics(const pra_server *s, pra_buffer *out);
/* Before the first byte. false: the connection cannot be served. */
bool pra__entrance_open(pra__conn *c);
void pra__entrance_close(pra__conn *c);
/* Tells a client with TLS that nothing more will come. */
void pra__entrance_bye(pra__conn *c);
/* Sends text now, past libmicrohttpd, or as much of it as the socket takes. */
void pra__entrance_send(pra__conn *c, const char *text, size_t len);
/* Whether the request with the headers of c may come in; sets c->user. */
bool pra__entrance_admit(pra__conn *c, pra__refusal *why);
/* Headers that belong to every answer, or to this one. */
void pra__entrance_answer(const pra__conn *c, pra__answer *a);
/* The request is over. */
void pra__entrance_leave(pra__conn *c);

/* pages.c */
/* Answers if target is one of the server's own pages. */
void pra__page(pra__conn *c, pra__answer *out);

#endif
