/* SPDX-License-Identifier: Apache-2.0 */
/* What the bundled stores share: options, memory, a hash table, the background thread, push-down
 * of matchers, the duplicate rule, metrics text. Private. */
#ifndef PRA_STORE_COMMON_H
#define PRA_STORE_COMMON_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "pra_stores.h"

/* ---- options and logging */

/** Copies what this version knows of in (NULL = defaults), defaults filled in. Returns 0,
 * PRA_ERR_INVALID_ARG, PRA_ERR_UNSUPPORTED_OPTION. */
int pra__store_opts(const pra_store_opts *in, pra_store_opts *out, pra_error *err);

__attribute__((format(printf, 3, 4))) void pra__store_log(const pra_store_opts *opts, int32_t level,
                                                          const char *format, ...);

/** Sets err from a format; returns code. */
__attribute__((format(printf, 3, 4))) int pra__store_fail(pra_error *err, int code,
                                                          const char *format, ...);
int pra__store_nomem(pra_error *err);

/** Tenant of a request; ctx may be NULL (no tenant). */
pra_str pra__store_tenant(const pra_context *ctx);

/** Whether a request holds anything to store. */
bool pra__store_any(const pra_columns *cols);

/** Wall clock, ms since the epoch. */
int64_t pra__store_now_ms(void);
/** Monotonic clock, ns. */
uint64_t pra__store_ticks(void);

/* ---- memory */

/** Makes *ptr hold at least need elements, growing by doubling. Returns 0 or PRA_ERR_NOMEM. */
int pra__store_grow(const pra_alloc *alloc, void **ptr, size_t *cap, size_t need, size_t element);

/* ---- hash table of linked nodes: the key lives in the node's owner */

typedef struct pra__node {
    struct pra__node *next;
    uint64_t hash;
} pra__node;

typedef struct pra__table {
    pra__node **buckets;
    size_t cap; /* power of two, or 0 */
    size_t count;
} pra__table;

/** Makes room for one more node; fails only when there is no bucket at all. */
int pra__table_reserve(pra__table *table, const pra_alloc *alloc);
/** Needs a successful reserve before. */
void pra__table_link(pra__table *table, pra__node *node);
void pra__table_unlink(pra__table *table, pra__node *node);
/** First node with this hash, and the one after; NULL at the end. */
pra__node *pra__table_find(const pra__table *table, uint64_t hash);
pra__node *pra__table_again(const pra__node *node);
/** Any order: starts with NULL; NULL at the end. */
pra__node *pra__table_each(const pra__table *table, const pra__node *after);
/** Forgets the nodes, keeps the buckets. */
void pra__table_clear(pra__table *table);
void pra__table_free(pra__table *table, const pra_alloc *alloc);

uint64_t pra__store_hash(pra_str s);
pra_str pra__store_span(const char *base, pra_span span);

/* ---- background thread */

typedef struct pra__ticker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool running;
    bool stop;
    uint64_t (*step)(void *self); /* returns ms until the next step */
    void *self;
} pra__ticker;

/** Returns 0 or PRA_ERR_NOMEM (no thread). */
int pra__ticker_start(pra__ticker *t, uint64_t (*step)(void *self), void *self);
/** Waits for a running step, not for a pause. Nothing if it was not started. */
void pra__ticker_stop(pra__ticker *t);

/* ---- retention */

/** What is older is to be deleted; INT64_MIN = nothing. */
typedef struct pra__cutoffs {
    int64_t data_ms; /* samples and histograms */
    int64_t exemplars_ms;
} pra__cutoffs;

pra__cutoffs pra__store_cutoffs(const pra_store_opts *opts, int64_t now_ms);
/** Whether anything is ever deleted. */
bool pra__store_expires(const pra_store_opts *opts);
/** Pause between two sweeps. */
uint64_t pra__retention_interval_ms(const pra_store_opts *opts);

/* ---- push-down of matchers */

enum {
    PRA__LOOKUP_FILTER = 0, /* accepts the empty value: no index entry need exist */
    PRA__LOOKUP_VALUES = 1, /* exactly these values */
    PRA__LOOKUP_RANGE = 2   /* the values that start with prefix and satisfy the matcher */
};

typedef struct pra__lookup {
    int kind;
    const pra_matcher *matcher;
    pra_str name;
    const pra_str *values; /* may point to value below: do not copy the struct */
    size_t value_count;
    pra_str value;
    pra_str prefix;
} pra__lookup;

void pra__lookup_init(pra__lookup *out, const pra_matcher *matcher);

/* ---- duplicates [W-22]: same bits pass silently, others are refused; at one time a series has a
 * sample or a histogram */

/** What there is, or came, for a time. */
typedef struct pra__datum {
    bool histogram;
    uint64_t bits; /* of a sample */
} pra__datum;

typedef struct pra__conflicts {
    size_t count; /* refused data of one series and kind; the rest describes the first */
    int64_t timestamp_ms;
    pra__datum stored;
    pra__datum received;
} pra__conflicts;

uint64_t pra__double_bits(const double *value);
void pra__conflicts_add(pra__conflicts *c, int64_t timestamp_ms, pra__datum stored,
                        pra__datum received);
/** Reports and forgets them. */
void pra__conflicts_report(pra__conflicts *c, pra_write_result *result, size_t series);

/* ---- feeding a sink */

enum { PRA__FEED_SAMPLES = 512, PRA__FEED_HISTOGRAMS = 64 };

/** Data of one series on its way into a sink, in order of time, a piece at a time. Each function
 * returns what the sink returned, PRA_ERR_NOMEM or PRA_ERR_CORRUPT. */
typedef struct pra__feed {
    pra_series_sink *sink;
    pra_error *err;
    const pra_alloc *alloc;
    pra_write_request **scratch; /* of the caller: made when there are histograms */
    size_t sample_count;
    size_t histogram_count;
    int64_t times[PRA__FEED_SAMPLES];
    double values[PRA__FEED_SAMPLES];
} pra__feed;

void pra__feed_init(pra__feed *feed, const pra_alloc *alloc, pra_write_request **scratch,
                    pra_series_sink *sink, pra_error *err);
/** Hands on what waits. */
int pra__feed_flush(pra__feed *feed);
static inline int pra__feed_sample(pra__feed *feed, int64_t timestamp_ms, uint64_t bits)
{
    int code = PRA_OK;
    if (feed->histogram_count || feed->sample_count == PRA__FEED_SAMPLES)
        code = pra__feed_flush(feed);
    feed->times[feed->sample_count] = timestamp_ms;
    memcpy(&feed->values[feed->sample_count++], &bits, sizeof bits);
    return code;
}
/** data: as pra_histogram_encode writes it. */
int pra__feed_histogram(pra__feed *feed, pra_str data);

/* ---- metadata */

/** What an entry of metadata describes: its family, or the __name__ of its series; empty if it
 * describes nothing. */
pra_str pra__metadata_family(const pra_columns *cols, const pra_metadata *entry);
/** Whether entry number index says what the one before it said. */
bool pra__metadata_repeats(const pra_columns *cols, size_t index);

/* ---- metrics */

/** Appends one metric with HELP and TYPE ("counter", "gauge"). */
int pra__store_metric(pra_buffer *out, const char *name, const char *type, const char *help,
                      double value);

#endif
