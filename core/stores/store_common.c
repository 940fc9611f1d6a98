/* SPDX-License-Identifier: Apache-2.0 */
#include "store_common.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const uint64_t default_exemplar_retention_ms = 24 * 3600 * 1000;

static int copy_opts(const pra_store_opts *in, pra_store_opts *out, pra_error *err)
{
    if (in->size < sizeof in->size)
        return pra__store_fail(err, PRA_ERR_INVALID_ARG, "pra_store_opts.size is not set");
    size_t known = in->size < sizeof *out ? in->size : sizeof *out;
    for (size_t i = known; i < in->size; i++)
        if (((const char *)in)[i] != 0)
            return pra__store_fail(err, PRA_ERR_UNSUPPORTED_OPTION,
                                   "pra_store_opts holds an option this version does not know");
    memcpy(out, in, known);
    return PRA_OK;
}

int pra__store_opts(const pra_store_opts *in, pra_store_opts *out, pra_error *err)
{
    memset(out, 0, sizeof *out);
    int code = in ? copy_opts(in, out, err) : PRA_OK;
    out->size = sizeof *out;
    if (!out->exemplar_retention_ms)
        out->exemplar_retention_ms = default_exemplar_retention_ms;
    return code;
}

void pra__store_log(const pra_store_opts *opts, int32_t level, const char *format, ...)
{
    if (!opts->log.fn)
        return;
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    opts->log.fn(opts->log.ctx, level, line);
}

int pra__store_fail(pra_error *err, int code, const char *format, ...)
{
    char line[240];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    return pra_error_set_cstr(err, code, line);
}

int pra__store_nomem(pra_error *err)
{
    return pra_error_set_cstr(err, PRA_ERR_RETRY, "the store is out of memory; try again later");
}

pra_str pra__store_tenant(const pra_context *ctx)
{
    pra_str tenant = {NULL, 0};
    if (ctx)
        pra_context_tenant(ctx, &tenant);
    return tenant;
}

bool pra__store_any(const pra_columns *cols)
{
    return cols->sample_count || cols->histogram_count || cols->exemplar_count ||
           cols->metadata_count;
}

int64_t pra__store_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

uint64_t pra__store_ticks(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- memory */

int pra__store_grow(const pra_alloc *alloc, void **ptr, size_t *cap, size_t need, size_t element)
{
    if (need <= *cap)
        return PRA_OK;
    size_t wanted = *cap ? *cap : 4;
    while (wanted < need) {
        if (wanted > SIZE_MAX / 2)
            return PRA_ERR_NOMEM;
        wanted *= 2;
    }
    if (wanted > SIZE_MAX / element)
        return PRA_ERR_NOMEM;
    void *grown = alloc->fn(alloc->ctx, *ptr, *cap * element, wanted * element);
    if (!grown)
        return PRA_ERR_NOMEM;
    *ptr = grown;
    *cap = wanted;
    return PRA_OK;
}

/* ---- hash table */

static pra__node **bucket_of(const pra__table *table, uint64_t hash)
{
    return &table->buckets[(hash ^ hash >> 32) & (table->cap - 1)];
}

int pra__table_reserve(pra__table *table, const pra_alloc *alloc)
{
    if (table->count < table->cap)
        return PRA_OK;
    pra__table grown = {.cap = table->cap ? table->cap * 2 : 16};
    grown.buckets = pra__malloc(alloc, grown.cap * sizeof *grown.buckets);
    if (!grown.buckets)
        return table->cap ? PRA_OK : PRA_ERR_NOMEM; /* longer chains will do */
    memset(grown.buckets, 0, grown.cap * sizeof *grown.buckets);
    for (size_t i = 0; i < table->cap; i++) {
        for (pra__node *node = table->buckets[i], *next; node; node = next) {
            next = node->next;
            pra__table_link(&grown, node);
        }
    }
    pra__table_free(table, alloc);
    *table = grown;
    return PRA_OK;
}

void pra__table_link(pra__table *table, pra__node *node)
{
    pra__node **bucket = bucket_of(table, node->hash);
    node->next = *bucket;
    *bucket = node;
    table->count++;
}

void pra__table_unlink(pra__table *table, pra__node *node)
{
    pra__node **at = bucket_of(table, node->hash);
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    table->count--;
}

static pra__node *from_here(pra__node *node, uint64_t hash)
{
    while (node && node->hash != hash)
        node = node->next;
    return node;
}

pra__node *pra__table_find(const pra__table *table, uint64_t hash)
{
    return table->cap ? from_here(*bucket_of(table, hash), hash) : NULL;
}

pra__node *pra__table_again(const pra__node *node)
{
    return from_here(node->next, node->hash);
}

pra__node *pra__table_each(const pra__table *table, const pra__node *after)
{
    if (after && after->next)
        return after->next;
    size_t i = after ? (size_t)(bucket_of(table, after->hash) - table->buckets) + 1 : 0;
    for (; i < table->cap; i++)
        if (table->buckets[i])
            return table->buckets[i];
    return NULL;
}

void pra__table_clear(pra__table *table)
{
    if (table->cap)
        memset(table->buckets, 0, table->cap * sizeof *table->buckets);
    table->count = 0;
}

void pra__table_free(pra__table *table, const pra_alloc *alloc)
{
    pra__free(alloc, table->buckets, table->cap * sizeof *table->buckets);
    *table = (pra__table){0};
}

uint64_t pra__store_hash(pra_str s)
{
    pra_label_span whole = {{0, (uint32_t)s.len}, {(uint32_t)s.len, 0}};
    return pra_labels_fingerprint(s.ptr, &whole, 1);
}

pra_str pra__store_span(const char *base, pra_span span)
{
    return (pra_str){span.len ? base + span.off : NULL, span.len};
}

/* ---- background thread */

static void *ticker_main(void *arg)
{
    pra__ticker *t = arg;
    pthread_mutex_lock(&t->lock);
    while (!t->stop) {
        pthread_mutex_unlock(&t->lock);
        uint64_t pause_ms = t->step(t->self);
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += (time_t)(pause_ms / 1000);
        until.tv_nsec += (long)(pause_ms % 1000) * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_mutex_lock(&t->lock);
        while (!t->stop && pthread_cond_timedwait(&t->wake, &t->lock, &until) == 0)
            ;
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

int pra__ticker_start(pra__ticker *t, uint64_t (*step)(void *self), void *self)
{
    *t = (pra__ticker){.step = step, .self = self};
    pthread_condattr_t attr;
    if (pthread_mutex_init(&t->lock, NULL) != 0)
        return PRA_ERR_NOMEM;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->wake, &attr);
    pthread_condattr_destroy(&attr);
    t->running = pthread_create(&t->thread, NULL, ticker_main, t) == 0;
    if (t->running)
        return PRA_OK;
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    return PRA_ERR_NOMEM;
}

void pra__ticker_stop(pra__ticker *t)
{
    if (!t->running)
        return;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    t->running = false;
}

/* ---- retention */

static int64_t cutoff(uint64_t retention_ms, int64_t now_ms)
{
    bool keep = !retention_ms || now_ms < 0 || retention_ms > (uint64_t)now_ms;
    return keep ? INT64_MIN : now_ms - (int64_t)retention_ms;
}

pra__cutoffs pra__store_cutoffs(const pra_store_opts *opts, int64_t now_ms)
{
    pra__cutoffs c = {cutoff(opts->retention_ms, now_ms),
                      cutoff(opts->exemplar_retention_ms, now_ms)};
    if (c.exemplars_ms < c.data_ms)
        c.exemplars_ms = c.data_ms;
    return c;
}

bool pra__store_expires(const pra_store_opts *opts)
{
    return opts->retention_ms || opts->exemplar_retention_ms != PRA_UNLIMITED;
}

uint64_t pra__retention_interval_ms(const pra_store_opts *opts)
{
    const uint64_t least = 1000, most = 3600 * 1000;
    uint64_t shorter = opts->exemplar_retention_ms;
    if (opts->retention_ms && opts->retention_ms < shorter)
        shorter = opts->retention_ms;
    uint64_t interval = shorter / 20;
    return interval < least ? least : interval > most ? most : interval;
}

/* ---- push-down of matchers */

void pra__lookup_init(pra__lookup *out, const pra_matcher *matcher)
{
    *out = (pra__lookup){.matcher = matcher};
    int32_t type = pra_matcher_type(matcher);
    pra_matcher_name(matcher, &out->name);
    if (pra_matcher_matches(matcher, (pra_str){NULL, 0}) != 0) {
        out->kind = PRA__LOOKUP_FILTER;
        return;
    }
    out->kind = PRA__LOOKUP_VALUES;
    if (type == PRA_MATCH_EQUAL) {
        pra_matcher_value(matcher, &out->value);
        out->values = &out->value;
        out->value_count = 1;
        return;
    }
    if (type == PRA_MATCH_REGEX)
        out->value_count = pra_matcher_set(matcher, &out->values);
    if (out->value_count)
        return;
    out->kind = PRA__LOOKUP_RANGE;
    if (type != PRA_MATCH_REGEX || !pra_matcher_prefix(matcher, &out->prefix))
        out->prefix = (pra_str){NULL, 0};
}

/* ---- duplicates */

uint64_t pra__double_bits(const double *value)
{
    uint64_t bits;
    memcpy(&bits, value, sizeof bits);
    return bits;
}

void pra__conflicts_add(pra__conflicts *c, int64_t timestamp_ms, pra__datum stored,
                        pra__datum received)
{
    if (c->count++ == 0) {
        c->timestamp_ms = timestamp_ms;
        c->stored = stored;
        c->received = received;
    }
}

/* NaNs are told apart by their bits, so show them. */
static const char *format_datum(char *out, size_t size, pra__datum datum, const char *histogram)
{
    double value;
    memcpy(&value, &datum.bits, sizeof value);
    if (datum.histogram)
        snprintf(out, size, "%s", histogram);
    else if (datum.bits == PRA_STALE_NAN_BITS)
        snprintf(out, size, "stale marker");
    else if (value != value)
        snprintf(out, size, "NaN 0x%016llx", (unsigned long long)datum.bits);
    else
        snprintf(out, size, "%.17g", value);
    return out;
}

void pra__conflicts_report(pra__conflicts *c, pra_write_result *result, size_t series)
{
    if (!c->count)
        return;
    char stored[32], received[32], line[160];
    bool histogram = c->received.histogram;
    int len = snprintf(line, sizeof line, "duplicate %s for timestamp %lld: stored %s, received %s",
                       histogram ? "histogram" : "sample", (long long)c->timestamp_ms,
                       format_datum(stored, sizeof stored, c->stored, "a histogram"),
                       format_datum(received, sizeof received, c->received,
                                    c->stored.histogram ? "another one" : "a histogram"));
    pra_write_result_reject(result, histogram ? PRA_DATUM_HISTOGRAM : PRA_DATUM_SAMPLE, series,
                            c->count, (pra_str){line, (size_t)len});
    *c = (pra__conflicts){0};
}

/* ---- feeding a sink */

void pra__feed_init(pra__feed *feed, const pra_alloc *alloc, pra_write_request **scratch,
                    pra_series_sink *sink, pra_error *err)
{
    feed->sink = sink;
    feed->err = err;
    feed->alloc = alloc;
    feed->scratch = scratch;
    feed->sample_count = feed->histogram_count = 0;
}

static int flush_samples(pra__feed *feed)
{
    size_t count = feed->sample_count;
    feed->sample_count = 0;
    return count ? pra_series_sink_samples(feed->sink, feed->times, feed->values, count, feed->err)
                 : PRA_OK;
}

static int flush_histograms(pra__feed *feed)
{
    size_t count = feed->histogram_count;
    pra_columns cols = {.size = sizeof cols};
    if (!count)
        return PRA_OK;
    feed->histogram_count = 0;
    int code = pra_write_request_columns(*feed->scratch, &cols);
    return code == PRA_OK ? pra_series_sink_histograms(feed->sink, &cols, 0, count, feed->err)
                          : code;
}

int pra__feed_flush(pra__feed *feed)
{
    int code = flush_samples(feed);
    return code == PRA_OK ? flush_histograms(feed) : code;
}

static int begin_histograms(pra__feed *feed)
{
    static const pra_label any = {{"a", 1}, {"b", 1}};
    int code = PRA_OK;
    if (*feed->scratch)
        pra_write_request_reset(*feed->scratch);
    else
        code = pra_write_request_new(feed->alloc, feed->scratch);
    return code == PRA_OK ? pra_write_request_add_series(*feed->scratch, &any, 1) : code;
}

int pra__feed_histogram(pra__feed *feed, pra_str data)
{
    int code = PRA_OK;
    if (feed->sample_count || feed->histogram_count == PRA__FEED_HISTOGRAMS)
        code = pra__feed_flush(feed);
    if (code == PRA_OK && !feed->histogram_count)
        code = begin_histograms(feed);
    if (code != PRA_OK)
        return code;
    code = pra_write_request_add_histogram_encoded(*feed->scratch, data.ptr, data.len, feed->err);
    feed->histogram_count += code == PRA_OK;
    if (code == PRA_OK || code == PRA_ERR_NOMEM)
        return code;
    return pra_error_set_cstr(feed->err, PRA_ERR_CORRUPT, "the store holds a damaged histogram");
}

/* ---- metadata */

pra_str pra__metadata_family(const pra_columns *cols, const pra_metadata *entry)
{
    static const pra_str metric_name = {"__name__", 8};
    pra_str none = {NULL, 0};
    if (entry->family.len || entry->series >= cols->series_count)
        return pra__store_span(cols->base, entry->family);
    for (uint32_t i = cols->label_offsets[entry->series];
         i < cols->label_offsets[entry->series + 1]; i++)
        if (pra__str_equal(pra__store_span(cols->base, cols->labels[i].name), metric_name))
            return pra__store_span(cols->base, cols->labels[i].value);
    return none;
}

static bool same_span(const char *base, pra_span a, pra_span b)
{
    return pra__str_equal(pra__store_span(base, a), pra__store_span(base, b));
}

bool pra__metadata_repeats(const pra_columns *cols, size_t index)
{
    if (index == 0)
        return false;
    const pra_metadata *entry = &cols->metadata[index], *before = entry - 1;
    return entry->type == before->type && same_span(cols->base, entry->help, before->help) &&
           same_span(cols->base, entry->unit, before->unit) &&
           pra__str_equal(pra__metadata_family(cols, entry), pra__metadata_family(cols, before));
}

/* ---- metrics */

int pra__store_metric(pra_buffer *out, const char *name, const char *type, const char *help,
                      double value)
{
    char text[512];
    int len = snprintf(text, sizeof text, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help,
                       name, type, name, value);
    return pra_buffer_append(out, text, (size_t)len);
}
