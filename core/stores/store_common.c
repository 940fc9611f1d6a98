/* SPDX-License-Identifier: Apache-2.0 */
#include "store_common.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int pra__store_opts(const pra_store_opts *in, pra_store_opts *out, pra_error *err)
{
    memset(out, 0, sizeof *out);
    out->size = sizeof *out;
    if (!in)
        return PRA_OK;
    if (in->size < sizeof in->size)
        return pra__store_fail(err, PRA_ERR_INVALID_ARG, "pra_store_opts.size is not set");
    size_t known = in->size < sizeof *out ? in->size : sizeof *out;
    for (size_t i = known; i < in->size; i++)
        if (((const char *)in)[i] != 0)
            return pra__store_fail(err, PRA_ERR_UNSUPPORTED_OPTION,
                                   "pra_store_opts holds an option this version does not know");
    memcpy(out, in, known);
    out->size = sizeof *out;
    return PRA_OK;
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

uint64_t pra__retention_interval_ms(uint64_t retention_ms)
{
    const uint64_t least = 1000, most = 3600 * 1000;
    uint64_t interval = retention_ms / 20;
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

/* ---- duplicate samples */

uint64_t pra__double_bits(const double *value)
{
    uint64_t bits;
    memcpy(&bits, value, sizeof bits);
    return bits;
}

void pra__conflicts_add(pra__conflicts *c, int64_t timestamp_ms, uint64_t stored, uint64_t received)
{
    if (c->count++ == 0) {
        c->timestamp_ms = timestamp_ms;
        c->stored_bits = stored;
        c->received_bits = received;
    }
}

/* NaNs are told apart by their bits, so show them. */
static const char *format_value(char *out, size_t size, uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    if (bits == PRA_STALE_NAN_BITS)
        snprintf(out, size, "stale marker");
    else if (value != value)
        snprintf(out, size, "NaN 0x%016llx", (unsigned long long)bits);
    else
        snprintf(out, size, "%.17g", value);
    return out;
}

void pra__conflicts_report(const pra__conflicts *c, pra_write_result *result, size_t series)
{
    if (!c->count)
        return;
    char stored[32], received[32], line[160];
    int len =
        snprintf(line, sizeof line, "duplicate sample for timestamp %lld: stored %s, received %s",
                 (long long)c->timestamp_ms, format_value(stored, sizeof stored, c->stored_bits),
                 format_value(received, sizeof received, c->received_bits));
    pra_write_result_reject(result, PRA_DATUM_SAMPLE, series, c->count,
                            (pra_str){line, (size_t)len});
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
