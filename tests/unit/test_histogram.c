/* SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "message/histogram_reduce.h"
#include "pra.h"

/* ---- histograms written as text: "schema=0 count=3 spans=0:2 deltas=1,1" */

enum { MOST = 64 };

struct written {
    pra_columns c;
    pra_histogram h;
    pra_bucket_span spans[2][MOST];
    int64_t deltas[2][MOST];
    double counts[2][MOST];
    double custom[MOST];
};

static uint64_t bits(double value)
{
    uint64_t b;
    memcpy(&b, &value, sizeof(b));
    return b;
}

static double from_bits(uint64_t b)
{
    double value;
    memcpy(&value, &b, sizeof(value));
    return value;
}

static uint32_t read_spans(const char *p, pra_bucket_span *out)
{
    uint32_t n = 0;
    char *end;
    for (; *p && *p != ' '; p = *end == ',' ? end + 1 : end) {
        out[n].offset = (int32_t)strtol(p, &end, 10);
        out[n++].length = (uint32_t)strtoul(end + 1, &end, 10);
    }
    return n;
}

static uint32_t read_integers(const char *p, int64_t *out)
{
    uint32_t n = 0;
    char *end;
    for (; *p && *p != ' '; p = *end == ',' ? end + 1 : end)
        out[n++] = strtoll(p, &end, 10);
    return n;
}

static uint32_t read_doubles(const char *p, double *out)
{
    uint32_t n = 0;
    char *end;
    for (; *p && *p != ' '; p = *end == ',' ? end + 1 : end)
        out[n++] = strtod(p, &end);
    return n;
}

/* The value of a key, or NULL. */
static const char *find(const char *text, const char *key)
{
    size_t len = strlen(key);
    for (const char *p = text; p; p = strchr(p, ' ') ? strchr(p, ' ') + 1 : NULL)
        if (strncmp(p, key, len) == 0 && p[len] == '=')
            return p + len + 1;
    return NULL;
}

static double number(const char *text, const char *key)
{
    const char *p = find(text, key);
    return p ? strtod(p, NULL) : 0;
}

static void view(struct written *w)
{
    w->c = (pra_columns){.size = sizeof(w->c), .histograms = &w->h, .histogram_count = 1};
    w->c.bucket_spans = w->spans[0];
    w->c.negative_bucket_spans = w->spans[1];
    w->c.positive_deltas = w->deltas[0];
    w->c.negative_deltas = w->deltas[1];
    w->c.positive_counts = w->counts[0];
    w->c.negative_counts = w->counts[1];
    w->c.custom_values = w->custom;
    w->c.bucket_span_count = w->c.negative_bucket_span_count = MOST;
    w->c.positive_delta_count = w->c.negative_delta_count = MOST;
    w->c.positive_count_count = w->c.negative_count_count = MOST;
    w->c.custom_value_count = MOST;
}

static void read_counts(struct written *w, const char *text)
{
    const char *p;
    if ((p = find(text, "count")) != NULL)
        w->h.count_bits = strtoull(p, NULL, 10);
    if ((p = find(text, "zero")) != NULL)
        w->h.zero_count_bits = strtoull(p, NULL, 10);
    if ((p = find(text, "fcount")) != NULL) {
        w->h.count_bits = bits(strtod(p, NULL));
        w->h.flags |= PRA_HISTOGRAM_FLOAT;
    }
    if ((p = find(text, "fzero")) != NULL) {
        w->h.zero_count_bits = bits(strtod(p, NULL));
        w->h.flags |= PRA_HISTOGRAM_ZERO_FLOAT;
    }
}

static void read_histogram(struct written *w, const char *text)
{
    const char *p;
    memset(w, 0, sizeof(*w));
    w->h.schema = (int32_t)number(text, "schema");
    w->h.sum = number(text, "sum");
    w->h.zero_threshold = number(text, "threshold");
    read_counts(w, text);
    if ((p = find(text, "spans")) != NULL)
        w->h.positive_spans.count = read_spans(p, w->spans[0]);
    if ((p = find(text, "nspans")) != NULL)
        w->h.negative_spans.count = read_spans(p, w->spans[1]);
    if ((p = find(text, "deltas")) != NULL)
        w->h.positive_deltas.count = read_integers(p, w->deltas[0]);
    if ((p = find(text, "ndeltas")) != NULL)
        w->h.negative_deltas.count = read_integers(p, w->deltas[1]);
    if ((p = find(text, "counts")) != NULL)
        w->h.positive_counts.count = read_doubles(p, w->counts[0]);
    if ((p = find(text, "ncounts")) != NULL)
        w->h.negative_counts.count = read_doubles(p, w->counts[1]);
    if ((p = find(text, "custom")) != NULL)
        w->h.custom_values.count = read_doubles(p, w->custom);
    view(w);
}

/* ---- each rule alone */

struct row {
    const char *histogram;
    const char *wrong; /* part of the reason; NULL = valid */
};

static const struct row rows[] = {
    /* [W-48] schemas */
    {"schema=0", NULL},
    {"schema=-4", NULL},
    {"schema=8", NULL},
    {"schema=-53", NULL},
    {"schema=-5", "schema -5 is not supported"},
    {"schema=-9", "schema -9 is not supported"},
    {"schema=-10", "schema -10 is not supported"},
    {"schema=9", "schema 9 is not supported"},
    {"schema=52", "schema 52 is not supported"},
    {"schema=53", "schema 53 is not supported"},
    {"schema=-52", "schema -52 is not supported"},
    {"schema=-54", "schema -54 is not supported"},
    {"schema=2147483647", "schema 2147483647 is not supported"},
    {"schema=-2147483648", "schema -2147483648 is not supported"},
    {"schema=9 fcount=0", "schema 9 is not supported"},
    /* [W-49] spans and buckets */
    {"count=3 spans=0:2 deltas=1,1", NULL},
    {"count=3 spans=-5:2 deltas=1,1", NULL},
    {"count=3 spans=-2147483648:2 deltas=1,1", NULL},
    {"count=3 spans=0:1,5:1 deltas=1,1", NULL},
    {"count=3 spans=0:1,0:1 deltas=1,1", NULL},
    {"count=3 spans=0:0,0:2 deltas=1,1", NULL},
    {"count=3 spans=0:2,7:0 deltas=1,1", NULL},
    {"count=3 spans=0:1,-1:1 deltas=1,1", "span 1 has offset -1, but only the first"},
    {"count=3 spans=0:1,1:0,-3:1 deltas=1,1", "span 2 has offset -3"},
    {"count=3 spans=0:3 deltas=1,1", "the spans have 3 buckets, but 2 are given"},
    {"count=3 spans=0:1 deltas=1,1", "the spans have 1 buckets, but 2 are given"},
    {"count=3 deltas=1,1", "the spans have 0 buckets, but 2 are given"},
    {"count=0 spans=0:1", "the spans have 1 buckets, but 0 are given"},
    {"count=3 spans=0:4294967295,0:3 deltas=1,1", "the spans have 4294967298 buckets"},
    {"count=3 nspans=0:2 ndeltas=1,1", NULL},
    {"count=3 nspans=0:1,-1:1 ndeltas=1,1", "negative side: span 1 has offset -1"},
    {"count=3 nspans=0:3 ndeltas=1,1", "negative side: the spans have 3 buckets"},
    {"fcount=3 spans=0:2 counts=1,2", NULL},
    {"fcount=3 spans=0:3 counts=1,2", "the spans have 3 buckets, but 2 are given"},
    {"fcount=3 spans=0:1,-1:1 counts=1,2", "span 1 has offset -1"},
    {"fcount=3 nspans=-7:2 ncounts=1,2", NULL},
    {"fcount=3 nspans=0:3 ncounts=1,2", "negative side: the spans have 3 buckets"},
    /* [W-47] buckets of the other kind are not looked at */
    {"count=3 spans=0:2 deltas=1,1 counts=-1,5,7 ncounts=3", NULL},
    {"fcount=3 spans=0:2 counts=1,2 deltas=-1 ndeltas=-1,-1", NULL},
    {"fcount=3 spans=0:2 deltas=1,1", "the spans have 2 buckets, but 0 are given"},
    {"count=3 spans=0:2 counts=1,2", "the spans have 2 buckets, but 0 are given"},
    {"count=3 fzero=7 spans=0:2 deltas=1,1", NULL},
    {"count=10 fzero=7 spans=0:2 deltas=1,1", "the buckets hold 3 observations"},
    /* [W-49] counts */
    {"count=0 spans=0:3 deltas=0,0,0", NULL},
    {"count=3 spans=0:3 deltas=2,-2,1", NULL},
    {"count=0 spans=0:2 deltas=1,-2", "the deltas up to bucket 1"},
    {"count=0 spans=0:1 deltas=-1", "the deltas up to bucket 0"},
    {"count=0 nspans=0:1 ndeltas=-1", "negative side: the deltas up to bucket 0"},
    {"count=0 spans=0:2 deltas=9223372036854775807,1", "the deltas up to bucket 1"},
    {"count=0 spans=0:2 deltas=0,-9223372036854775808", "the deltas up to bucket 1"},
    {"count=9223372036854775807 spans=0:1 deltas=9223372036854775807", NULL},
    {"count=18446744073709551614 spans=0:2 deltas=9223372036854775807,0", NULL},
    {"count=6 zero=3 spans=0:2 deltas=1,1", NULL},
    {"count=9 zero=3 spans=0:2 deltas=1,1 nspans=0:2 ndeltas=1,1", NULL},
    {"count=4 spans=0:2 deltas=1,1", "hold 3 observations, but count is 4; it must be as many"},
    {"count=2 spans=0:2 deltas=1,1", "hold 3 observations, but count is 2"},
    {"count=3 zero=1 spans=0:2 deltas=1,1", "hold 4 observations, but count is 3"},
    {"count=18446744073709551615", "hold 0 observations, but count is 18446744073709551615"},
    {"count=4 sum=nan spans=0:2 deltas=1,1", NULL},
    {"count=3 sum=nan spans=0:2 deltas=1,1", NULL},
    {"count=2 sum=nan spans=0:2 deltas=1,1", "at least as many where sum is NaN"},
    {"count=3 sum=inf spans=0:2 deltas=1,1", NULL},
    {"count=4 sum=-inf spans=0:2 deltas=1,1", "it must be as many"},
    {"fcount=1 spans=0:2 counts=1,2", NULL},
    {"fcount=0.5 fzero=0.25 spans=0:1 counts=0.25", NULL},
    {"fcount=nan fzero=nan spans=0:1 counts=nan", NULL},
    {"fcount=inf spans=0:1 counts=inf", NULL},
    {"fcount=-0.0 fzero=-0.0 spans=0:1 counts=-0.0", NULL},
    {"fcount=-1", "count is -1, but must not be negative"},
    {"fcount=-inf", "count is -inf"},
    {"fcount=1 fzero=-0.5", "the zero bucket has count -0.5"},
    {"fcount=1 zero=18446744073709551615", NULL},
    {"fcount=1 spans=0:2 counts=1,-0.5", "positive side: bucket 1 has count -0.5"},
    {"fcount=1 nspans=0:2 ncounts=-1,0", "negative side: bucket 0 has count -1"},
    {"count=0 threshold=-1", NULL},
    {"count=0 threshold=nan", NULL},
    {"count=0 custom=1", "schema 0 has no custom bounds"},
    {"schema=8 fcount=0 custom=1,2", "schema 8 has no custom bounds"},
    /* [W-49] custom buckets */
    {"schema=-53 count=3 spans=0:2 deltas=1,1 custom=1", NULL},
    {"schema=-53 count=3 spans=0:2 deltas=1,1 custom=1,2,3", NULL},
    {"schema=-53 count=3 spans=1:2 deltas=1,1 custom=1,2", NULL},
    {"schema=-53 count=3 spans=0:1,1:1 deltas=1,1 custom=1,2", NULL},
    {"schema=-53 count=1 spans=0:1 deltas=1", NULL},
    {"schema=-53 count=1 spans=0:1 deltas=1 custom=-inf,0", NULL},
    {"schema=-53 fcount=3 spans=0:2 counts=1,2 custom=-1.5", NULL},
    {"schema=-53 count=3 spans=0:2 deltas=1,1", "reach over 2 buckets, but 0 bounds make only 1"},
    {"schema=-53 count=3 spans=2:2 deltas=1,1 custom=1,2", "reach over 4 buckets"},
    {"schema=-53 count=3 spans=0:1,2147483647:1 deltas=1,1 custom=1", "over 2147483649 buckets"},
    {"schema=-53 count=3 spans=-1:2 deltas=1,1 custom=1", "span 0 has offset -1, but with custom"},
    {"schema=-53 count=3 spans=0:1,-1:1 deltas=1,1 custom=1", "span 1 has offset -1"},
    {"schema=-53 count=3 spans=0:3 deltas=1,1 custom=1,2", "the spans have 3 buckets"},
    {"schema=-53 count=0 custom=1,1", "bound 1 is 1 after 1, but bounds must rise"},
    {"schema=-53 count=0 custom=1,3,2", "bound 2 is 2 after 3"},
    {"schema=-53 count=0 custom=1,nan", "bound 1 is NaN"},
    {"schema=-53 count=0 custom=nan", "bound 0 is NaN"},
    {"schema=-53 count=0 custom=1,inf", "the last bound is +Inf"},
    {"schema=-53 count=0 custom=inf", "the last bound is +Inf"},
    {"schema=-53 count=0 custom=-inf,-inf", "bound 1 is -inf after -inf"},
    {"schema=-53 count=1 zero=1", "zero_count must be 0"},
    {"schema=-53 fcount=1 fzero=nan", "zero_count must be 0"},
    {"schema=-53 fcount=1 zero=1", NULL},
    {"schema=-53 count=0 threshold=0.001", "zero_threshold must be 0"},
    {"schema=-53 count=0 threshold=nan", "zero_threshold must be 0"},
    {"schema=-53 count=0 nspans=0:0", "leave its spans out"},
    {"schema=-53 count=1 ndeltas=1", "leave its buckets out"},
    {"schema=-53 fcount=1 ncounts=1", "leave its buckets out"},
    {"schema=-53 fcount=1 ndeltas=1", NULL},
    {"schema=-53 count=0 spans=0:1 deltas=-1", "the deltas up to bucket 0"},
    {"schema=-53 count=2 spans=0:1 deltas=1", "hold 1 observations, but count is 2"},
    {"schema=-53 fcount=-2", "count is -2"},
};

static void w_47_w_48_w_49_each_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct written w;
        pra_error why = {0};
        read_histogram(&w, rows[i].histogram);
        int rc = pra_histogram_validate(&w.c, 0, &why);
        if (rc != (rows[i].wrong ? PRA_ERR_HISTOGRAM : PRA_OK) ||
            (rows[i].wrong && !strstr(why.message, rows[i].wrong)))
            fail_msg("%s: %d %s", rows[i].histogram, rc, why.message);
        assert_int_equal(pra_histogram_validate(&w.c, 0, NULL), rc);
        assert_int_equal(why.http_status, rc ? 400 : 0);
    }
}

static void ranges_outside_their_columns_are_refused(void **state)
{
    struct written w;
    (void)state;
    for (int i = 0; i < PRA__BUCKET_COLUMNS; i++) {
        read_histogram(&w, "count=0");
        *pra__bucket_range(&w.h, i) = (pra_range){MOST, 0};
        assert_int_equal(pra_histogram_validate(&w.c, 0, NULL), PRA_OK);
        *pra__bucket_range(&w.h, i) = (pra_range){MOST - 1, 2};
        assert_int_equal(pra_histogram_validate(&w.c, 0, NULL), PRA_ERR_INVALID_ARG);
        *pra__bucket_range(&w.h, i) = (pra_range){UINT32_MAX, UINT32_MAX};
        assert_int_equal(pra_histogram_validate(&w.c, 0, NULL), PRA_ERR_INVALID_ARG);
    }
    read_histogram(&w, "count=0");
    assert_int_equal(pra_histogram_validate(&w.c, 1, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_histogram_validate(NULL, 0, NULL), PRA_ERR_INVALID_ARG);
    w.c.size = 8;
    assert_int_equal(pra_histogram_validate(&w.c, 0, NULL), PRA_ERR_INVALID_ARG);
}

/* [W-43] by the bits of sum, and nothing else */
static void w_43_stale_by_its_bits(void **state)
{
    static const struct {
        uint64_t sum;
        int stale;
    } sums[] = {{PRA_STALE_NAN_BITS, 1},
                {PRA_NORMAL_NAN_BITS, 0},
                {0x7ff8000000000002, 0},
                {0xfff0000000000002, 0},
                {0, 0}};
    (void)state;
    for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
        pra_histogram h = {.schema = 99};
        memcpy(&h.sum, &sums[i].sum, 8);
        assert_int_equal(pra_histogram_is_stale(&h), sums[i].stale);
    }
    assert_int_equal(pra_histogram_is_stale(NULL), 0);
}

/* ---- bounds */

/* [W-48] the numbers that Prometheus has in its table, and what is made of them */
static void w_48_bounds(void **state)
{
    static const struct {
        int32_t schema, index;
        double bound;
    } known[] = {
        {0, 0, 1},
        {0, 1, 2},
        {0, -1, 0.5},
        {1, 1, 2 * 0.7071067811865475},
        {1, -1, 0.7071067811865475},
        {2, 3, 2 * 0.8408964152537144},
        {3, 1, 2 * 0.5452538663326288},
        {5, 17, 2 * 0.7225904034885232},
        {8, 255, 2 * 0.9972960560854698},
        {8, -1, 0.9972960560854698},
        {-1, 3, 64},
        {-4, -1, 0x1p-16},
        {-4, 63, 0x1p+1008},
        {-4, 64, DBL_MAX},
        {8, 262144, DBL_MAX},
        {0, 1024, DBL_MAX},
        {0, -1074, 0x1p-1074},
        {0, -1080, 0},
        {0, 1025, INFINITY},
        {-4, INT32_MAX, INFINITY},
        {8, INT32_MAX, INFINITY},
        {-4, INT32_MIN, 0},
        {8, INT32_MIN, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        double bound = pra_histogram_bound(known[i].schema, known[i].index);
        if (memcmp(&bound, &known[i].bound, sizeof(bound)) != 0)
            fail_msg("schema %d, index %d: %.17g", known[i].schema, known[i].index, bound);
    }
    for (int32_t schema = -4; schema <= 8; schema++)
        for (int32_t index = -600; index < 600; index++)
            if (!(pra_histogram_bound(schema, index) < pra_histogram_bound(schema, index + 1)))
                assert_true(schema < 0 && abs(index) * (1 << -schema) > 1000);
    assert_true(isnan(pra_histogram_bound(9, 0)));
    assert_true(isnan(pra_histogram_bound(-5, 0)));
    assert_true(isnan(pra_histogram_bound(-53, 0)));
}

/* ---- random histograms */

static uint64_t dice(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    return *random ^= *random << 17;
}

static uint64_t below(uint64_t *random, uint64_t n)
{
    return dice(random) % n;
}

/* Spans and bucket counts of one side; returns the sum of the counts. */
static uint64_t random_side(uint64_t *random, struct written *w, int side, int is_float)
{
    uint64_t total = 0, last = 0;
    uint32_t n = 0;
    const uint32_t spans = (uint32_t)below(random, 6);
    for (uint32_t i = 0; i < spans; i++) {
        pra_bucket_span *span = &w->spans[side][i];
        span->offset = i ? (int32_t)below(random, 40) : (int32_t)below(random, 2000) - 1000;
        span->length = (uint32_t)below(random, 8);
        for (uint32_t j = 0; j < span->length; j++, n++) {
            uint64_t count = below(random, 4) ? below(random, 1000) : 0;
            w->deltas[side][n] = (int64_t)(count - last);
            w->counts[side][n] = (double)count;
            last = count;
            total += count;
        }
    }
    pra_range *ranges[2][3] = {
        {&w->h.positive_spans, &w->h.positive_deltas, &w->h.positive_counts},
        {&w->h.negative_spans, &w->h.negative_deltas, &w->h.negative_counts}};
    ranges[side][0]->count = spans;
    ranges[side][is_float ? 2 : 1]->count = n;
    return total;
}

static void random_exponential(uint64_t *random, struct written *w)
{
    const int is_float = (int)below(random, 2);
    memset(w, 0, sizeof(*w));
    view(w);
    uint64_t zero = below(random, 50);
    uint64_t total = zero + random_side(random, w, 0, is_float);
    total += random_side(random, w, 1, is_float);
    w->h.schema = (int32_t)below(random, 13) - 4;
    w->h.count_bits = is_float ? bits((double)total) : total;
    w->h.zero_count_bits = is_float ? bits((double)zero) : zero;
    w->h.flags = is_float ? PRA_HISTOGRAM_FLOAT | PRA_HISTOGRAM_ZERO_FLOAT : 0;
    w->h.sum = (double)below(random, 1000);
    w->h.zero_threshold = 1e-6;
}

static void random_custom(uint64_t *random, struct written *w)
{
    const int is_float = (int)below(random, 2);
    memset(w, 0, sizeof(*w));
    view(w);
    uint64_t total = random_side(random, w, 0, is_float), reach = 0;
    if (w->h.positive_spans.count)
        w->spans[0][0].offset = (int32_t)below(random, 5);
    for (uint32_t i = 0; i < w->h.positive_spans.count; i++) {
        if (w->spans[0][i].offset > 4)
            w->spans[0][i].offset = 4;
        reach += w->spans[0][i].length + (uint64_t)w->spans[0][i].offset;
    }
    assert_true(reach <= MOST);
    w->h.schema = -53;
    w->h.custom_values.count = reach ? (uint32_t)reach - 1 : 0;
    for (uint32_t i = 0; i < w->h.custom_values.count; i++)
        w->custom[i] = i * 1.5;
    w->h.count_bits = is_float ? bits((double)total) : total;
    w->h.flags = is_float ? PRA_HISTOGRAM_FLOAT | PRA_HISTOGRAM_ZERO_FLOAT : 0;
}

/* Breaks one rule. Returns 0 if this one cannot be broken here. */
static int break_spans(uint64_t *random, struct written *w)
{
    const int side = (int)below(random, 2);
    pra_range *spans = side ? &w->h.negative_spans : &w->h.positive_spans;
    if (spans->count == 0)
        return 0;
    pra_bucket_span *span = &w->spans[side][below(random, spans->count)];
    switch (below(random, 3)) {
    case 0:
        span->length += 1 + (uint32_t)below(random, UINT32_MAX - 9);
        return 1;
    case 1:
        if (span == w->spans[side] && w->h.schema != -53)
            return 0;
        span->offset = -1 - (int32_t)below(random, INT32_MAX);
        return 1;
    default:
        if (w->spans[side][spans->count - 1].length == 0)
            return 0;
        spans->count--;
        return 1;
    }
}

static int break_counts(uint64_t *random, struct written *w)
{
    const int side = (int)below(random, 2);
    const int is_float = (w->h.flags & PRA_HISTOGRAM_FLOAT) != 0;
    const uint32_t n = is_float ? side ? w->h.negative_counts.count : w->h.positive_counts.count
                       : side   ? w->h.negative_deltas.count
                                : w->h.positive_deltas.count;
    switch (below(random, 3)) {
    case 0:
        if (is_float)
            w->h.count_bits = bits(-1);
        else
            w->h.count_bits += 1 + below(random, 1000);
        return 1;
    case 1:
        if (n == 0)
            return 0;
        if (is_float)
            w->counts[side][below(random, n)] = -0.25;
        else
            w->deltas[side][below(random, n)] += 1 + (int64_t)below(random, 5);
        return 1;
    default:
        w->h.schema =
            below(random, 2) ? 9 + (int32_t)below(random, 100) : -5 - (int32_t)below(random, 40);
        return 1;
    }
}

static int break_custom(uint64_t *random, struct written *w)
{
    const uint32_t n = w->h.custom_values.count;
    if (w->h.schema != -53) {
        w->h.custom_values.count = 1;
        return 1;
    }
    if (n == 0) {
        w->h.zero_threshold = 0.5;
        return 1;
    }
    switch (below(random, 3)) {
    case 0:
        w->custom[below(random, n)] = from_bits(PRA_NORMAL_NAN_BITS);
        return 1;
    case 1:
        w->custom[n - 1] = n > 1 ? w->custom[n - 2] : from_bits(0x7ff0000000000000);
        return 1;
    default:
        w->h.custom_values.count--;
        return 1;
    }
}

static void one_mutation_is_seen(void **state)
{
    uint64_t random = 4711;
    size_t broken = 0;
    (void)state;
    for (int i = 0; i < 30000; i++) {
        struct written w;
        pra_error why = {0};
        if (below(&random, 2))
            random_exponential(&random, &w);
        else
            random_custom(&random, &w);
        if (pra_histogram_validate(&w.c, 0, &why) != PRA_OK)
            fail_msg("round %d: %s", i, why.message);
        const uint64_t which = below(&random, 3);
        if (!(which == 0   ? break_spans(&random, &w)
              : which == 1 ? break_counts(&random, &w)
                           : break_custom(&random, &w)))
            continue;
        broken++;
        if (pra_histogram_validate(&w.c, 0, &why) != PRA_ERR_HISTOGRAM)
            fail_msg("round %d: not seen", i);
        assert_true(why.message[0] != 0);
    }
    assert_true(broken > 10000);
}

/* ---- reduction [W-48] */

/* Columns that hold one histogram and something before and behind it that must not change. */
static void to_columns(struct pra__columns *c, const struct written *w, pra_histogram *h)
{
    const void *sources[PRA__BUCKET_COLUMNS] = {w->spans[0],  w->spans[1],  w->deltas[0],
                                                w->deltas[1], w->counts[0], w->counts[1],
                                                w->custom};
    pra_histogram from = w->h;
    pra__columns_init(c, NULL);
    for (int i = 0; i < PRA__BUCKET_COLUMNS; i++) {
        enum pra__column_id id = pra__bucket_columns[i];
        pra_range *range = pra__bucket_range(&from, i);
        assert_int_equal(pra__columns_room(c, id, (size_t)range->count + 2), PRA_OK);
        pra__columns_append(c, id, sources[i], MOST - 1, 1);
        pra__columns_append(c, id, sources[i], 0, range->count);
        pra__columns_append(c, id, sources[i], MOST - 1, 1);
        range->start = 1;
    }
    *h = from;
}

/* Counts by bucket index of the coarser schema, added up one by one. */
enum { REACH = 4096 };

static void slow_reduction(const struct written *w, int side, double *out)
{
    const pra_range spans = side ? w->h.negative_spans : w->h.positive_spans;
    int64_t index = 0, count = 0;
    uint32_t at = 0;
    memset(out, 0, REACH * 2 * sizeof(*out));
    for (uint32_t i = 0; i < spans.count; i++) {
        index += w->spans[side][i].offset;
        for (uint32_t j = 0; j < w->spans[side][i].length; j++, index++, at++) {
            int64_t target =
                index; /* bucket i of a schema is half of bucket ceil(i/2) of the next */
            for (int32_t s = w->h.schema; s > 8; s--)
                target = target > 0 ? (target + 1) / 2 : target / 2;
            count += w->deltas[side][at];
            assert_true(target > -REACH && target < REACH);
            out[target + REACH] +=
                w->h.flags & PRA_HISTOGRAM_FLOAT ? w->counts[side][at] : (double)count;
        }
    }
}

static void reduced(const struct pra__columns *c, const pra_histogram *h, int side, double *out)
{
    const pra_range spans = side ? h->negative_spans : h->positive_spans;
    const pra_bucket_span *span =
        PRA__COLUMN(pra_bucket_span, c, pra__bucket_columns[side]) + spans.start;
    const int is_float = (h->flags & PRA_HISTOGRAM_FLOAT) != 0;
    const int64_t *deltas = PRA__COLUMN(int64_t, c, pra__bucket_columns[2 + side]) + 1;
    const double *counts = PRA__COLUMN(double, c, pra__bucket_columns[4 + side]) + 1;
    int64_t index = 0, count = 0;
    uint32_t at = 0;
    memset(out, 0, REACH * 2 * sizeof(*out));
    for (uint32_t i = 0; i < spans.count; i++) {
        index += span[i].offset;
        assert_true(span[i].length > 0);
        assert_true(i == 0 || span[i].offset > 0); /* as few spans as can be */
        for (uint32_t j = 0; j < span[i].length; j++, index++, at++) {
            if (!is_float)
                count += deltas[at];
            out[index + REACH] += is_float ? counts[at] : (double)count;
        }
    }
}

static void check_neighbours(const struct pra__columns *c, const struct written *w)
{
    for (int i = 0; i < 2; i++) {
        const struct pra__column *deltas = &c->col[pra__bucket_columns[2 + i]];
        const int64_t *d = deltas->data;
        assert_int_equal(d[0], w->deltas[i][MOST - 1]);
        assert_int_equal(d[deltas->len - 1], w->deltas[i][MOST - 1]);
    }
}

static void w_48_reduction_agrees_with_a_slow_one(void **state)
{
    static double expected[REACH * 2], got[REACH * 2];
    uint64_t random = 99;
    (void)state;
    for (int i = 0; i < 5000; i++) {
        struct written w;
        struct pra__columns c;
        pra_histogram h;
        pra_error why = {0};
        random_exponential(&random, &w);
        w.h.schema = i < 44 ? 9 + i : 9 + (int32_t)below(&random, 44);
        w.deltas[0][MOST - 1] = w.deltas[1][MOST - 1] = 77;
        to_columns(&c, &w, &h);
        assert_int_equal(pra__histogram_reduce(&c, &h, &why), PRA_OK);
        assert_int_equal(h.schema, 8);
        for (int side = 0; side < 2; side++) {
            slow_reduction(&w, side, expected);
            reduced(&c, &h, side, got);
            assert_memory_equal(got, expected, sizeof(got));
        }
        check_neighbours(&c, &w);
        pra_columns v = {.size = sizeof(v)};
        (void)pra__columns_view(&c, &v);
        v.histograms = &h;
        v.histogram_count = 1;
        assert_int_equal(pra_histogram_validate(&v, 0, &why), PRA_OK);
        pra__columns_fini(&c);
    }
}

struct reduction {
    const char *from;
    const char *to; /* as read_histogram reads it; or the reason, with ok == 0 */
    int ok;
};

/* The facts of Prometheus' reduceResolution: one bucket down from two, the second being even. */
static const struct reduction reductions[] = {
    {"schema=9 count=10 spans=0:4 deltas=1,1,1,1", "spans=0:3 deltas=1,4,-1", 1},
    {"schema=9 count=10 spans=1:4 deltas=1,1,1,1", "spans=1:2 deltas=3,4", 1},
    {"schema=9 count=10 spans=-3:4 deltas=1,1,1,1", "spans=-1:2 deltas=3,4", 1},
    {"schema=9 count=3 spans=0:1,0:1 deltas=1,1", "spans=0:2 deltas=1,1", 1},
    {"schema=9 count=3 spans=1:1,4:1 deltas=1,1", "spans=1:1,1:1 deltas=1,1", 1},
    {"schema=9 count=3 spans=1:1,1:1 deltas=1,1", "spans=1:2 deltas=1,1", 1},
    {"schema=10 count=3 spans=1:2,1:1 deltas=1,0,0", "spans=1:1 deltas=3", 1},
    {"schema=52 count=3 spans=1:2,9:1 deltas=1,0,0", "spans=1:1 deltas=3", 1},
    {"schema=52 count=3 spans=-2147483648:1 deltas=3", "spans=0:1 deltas=3", 1},
    {"schema=52 count=3 spans=2147483647:1 deltas=3", "spans=1:1 deltas=3", 1},
    {"schema=9 count=3 spans=2147483647:1 deltas=3", "spans=1073741824:1 deltas=3", 1},
    {"schema=9 count=3 spans=-2147483648:1 deltas=3", "spans=-1073741824:1 deltas=3", 1},
    {"schema=9 count=0 spans=5:0,3:0", "schema=8", 1},
    {"schema=9 count=0", "schema=8", 1},
    {"schema=9 fcount=6 spans=1:3 counts=1,2,3", "spans=1:2 counts=3,3", 1},
    {"schema=9 fcount=6 nspans=1:3 ncounts=1,2,3", "nspans=1:2 ncounts=3,3", 1},
    {"schema=9 count=3 nspans=1:2 ndeltas=1,1", "nspans=1:1 ndeltas=3", 1},
    {"schema=9 count=3 spans=0:3 deltas=1,1", "the spans have 3 buckets", 0},
    {"schema=9 count=3 spans=0:1 deltas=1,1", "the spans have 1 buckets", 0},
    {"schema=9 count=3 spans=0:1,-1:1 deltas=1,1", "span 1 has offset -1", 0},
    {"schema=9 count=3 spans=0:2 deltas=1,1 nspans=0:1", "negative side: the spans have 1", 0},
    {"schema=9 count=3 spans=2147483647:2 deltas=1,1", "beyond 32 bits", 0},
    {"schema=9 count=3 spans=2147483647:1,2147483647:1 deltas=1,1", "span 1 reaches", 0},
};

static void same_side(const struct pra__columns *c, const pra_histogram *h,
                      const struct written *to, int side)
{
    pra_histogram a = *h, b = to->h;
    const void *expected[3] = {to->spans[side], to->deltas[side], to->counts[side]};
    for (int i = 0; i < 3; i++) {
        const int id = 2 * i + side;
        const uint32_t n = pra__bucket_range(&a, id)->count;
        assert_int_equal(n, pra__bucket_range(&b, id)->count);
        assert_memory_equal((const char *)c->col[pra__bucket_columns[id]].data + 8, expected[i],
                            (size_t)n * 8);
    }
}

static void w_48_reductions_by_hand(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(reductions) / sizeof(reductions[0]); i++) {
        const struct reduction *r = &reductions[i];
        struct written w, to;
        struct pra__columns c;
        pra_histogram h;
        pra_error why = {0};
        read_histogram(&w, r->from);
        read_histogram(&to, r->ok ? r->to : r->from);
        to_columns(&c, &w, &h);
        int rc = pra__histogram_reduce(&c, &h, &why);
        if (rc != (r->ok ? PRA_OK : PRA_ERR_HISTOGRAM) || (!r->ok && !strstr(why.message, r->to)))
            fail_msg("%s: %d %s", r->from, rc, why.message);
        assert_int_equal(h.schema, r->ok ? 8 : w.h.schema);
        same_side(&c, &h, &to, 0); /* after a refusal: as it was */
        same_side(&c, &h, &to, 1);
        pra__columns_fini(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(w_47_w_48_w_49_each_rule),
        cmocka_unit_test(ranges_outside_their_columns_are_refused),
        cmocka_unit_test(w_43_stale_by_its_bits),
        cmocka_unit_test(w_48_bounds),
        cmocka_unit_test(one_mutation_is_seen),
        cmocka_unit_test(w_48_reduction_agrees_with_a_slow_one),
        cmocka_unit_test(w_48_reductions_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
