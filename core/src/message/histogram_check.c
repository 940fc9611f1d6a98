/* SPDX-License-Identifier: Apache-2.0 */
/* What makes a native histogram valid [W-47] [W-48] [W-49]: accepts exactly what Prometheus does.
 * Sums of counts are taken modulo 2^64, as there. */
#include "message/histogram_check.h"

#include <inttypes.h>
#include <math.h>

#include "base/error.h"
#include "message/columns.h"
#include "wire/bits.h"

int pra_histogram_is_stale(const pra_histogram *histogram)
{
    return histogram && pra_is_stale(&histogram->sum);
}

void pra__histogram_sides(const pra_columns *c, const pra_histogram *h,
                          struct pra__buckets *positive, struct pra__buckets *negative)
{
    const int is_float = (h->flags & PRA_HISTOGRAM_FLOAT) != 0;
    *positive = (struct pra__buckets){.name = "positive side"};
    *negative = (struct pra__buckets){.name = "negative side"};
    if ((positive->span_count = h->positive_spans.count) != 0)
        positive->spans = c->bucket_spans + h->positive_spans.start;
    if ((negative->span_count = h->negative_spans.count) != 0)
        negative->spans = c->negative_bucket_spans + h->negative_spans.start;
    if (is_float) {
        if ((positive->count = h->positive_counts.count) != 0)
            positive->counts = c->positive_counts + h->positive_counts.start;
        if ((negative->count = h->negative_counts.count) != 0)
            negative->counts = c->negative_counts + h->negative_counts.start;
    } else {
        if ((positive->count = h->positive_deltas.count) != 0)
            positive->deltas = c->positive_deltas + h->positive_deltas.start;
        if ((negative->count = h->negative_deltas.count) != 0)
            negative->deltas = c->negative_deltas + h->negative_deltas.start;
    }
}

/* ---- spans */

static int wrong_offset(const struct pra__buckets *side, size_t span, const char *rule,
                        pra_error *why)
{
    return pra__error(why, PRA_ERR_HISTOGRAM, 0, "%s: span %zu has offset %" PRId32 ", but %s",
                      side->name, span, side->spans[span].offset, rule);
}

static int wrong_number(const struct pra__buckets *side, uint64_t need, pra_error *why)
{
    return pra__error(why, PRA_ERR_HISTOGRAM, 0,
                      "%s: the spans have %" PRIu64
                      " buckets, but %zu are given; send one for each",
                      side->name, need, side->count);
}

int pra__spans_check(const struct pra__buckets *side, pra_error *why)
{
    uint64_t need = 0;
    for (size_t i = 0; i < side->span_count; i++) {
        if (i && side->spans[i].offset < 0)
            return wrong_offset(side, i, "only the first may be negative", why);
        need += side->spans[i].length;
    }
    return need == side->count ? PRA_OK : wrong_number(side, need, why);
}

/* ---- counts */

/* Running sums of deltas: none may be below zero, which is also where one over 2^63 - 1 ends. */
static int check_deltas(const struct pra__buckets *side, uint64_t *total, pra_error *why)
{
    uint64_t count = 0, sum = 0;
    for (size_t i = 0; i < side->count; i++) {
        count += (uint64_t)side->deltas[i];
        if (count >> 63)
            return pra__error(why, PRA_ERR_HISTOGRAM, 0,
                              "%s: the deltas up to bucket %zu give a count below 0 or over 2^63 - "
                              "1",
                              side->name, i);
        sum += count;
    }
    *total += sum;
    return PRA_OK;
}

static int check_float_counts(const struct pra__buckets *side, pra_error *why)
{
    for (size_t i = 0; i < side->count; i++)
        if (side->counts[i] < 0)
            return pra__error(why, PRA_ERR_HISTOGRAM, 0,
                              "%s: bucket %zu has count %g, but counts must not be negative",
                              side->name, i, side->counts[i]);
    return PRA_OK;
}

/* As Prometheus reads it, a zero count of the other kind than count is 0. */
static double float_zero_count(const pra_histogram *h)
{
    return h->flags & PRA_HISTOGRAM_ZERO_FLOAT ? pra__double_of(h->zero_count_bits) : 0;
}

static uint64_t integer_zero_count(const pra_histogram *h)
{
    return h->flags & PRA_HISTOGRAM_ZERO_FLOAT ? 0 : h->zero_count_bits;
}

/* Observations of NaN are in count, but in no bucket. */
static int check_integer_total(const pra_histogram *h, uint64_t in_buckets, pra_error *why)
{
    const uint64_t total = in_buckets + integer_zero_count(h);
    const int has_nan = isnan(h->sum);
    if (has_nan ? total <= h->count_bits : total == h->count_bits)
        return PRA_OK;
    return pra__error(
        why, PRA_ERR_HISTOGRAM, 0,
        "the buckets hold %" PRIu64 " observations, but count is %" PRIu64 "; it must be %s", total,
        h->count_bits, has_nan ? "at least as many where sum is NaN" : "as many");
}

static int check_integer(const pra_histogram *h, const struct pra__buckets *positive,
                         const struct pra__buckets *negative, pra_error *why)
{
    uint64_t in_buckets = 0;
    int rc = check_deltas(negative, &in_buckets, why);
    if (rc == PRA_OK)
        rc = check_deltas(positive, &in_buckets, why);
    return rc ? rc : check_integer_total(h, in_buckets, why);
}

static int check_float(const pra_histogram *h, const struct pra__buckets *positive,
                       const struct pra__buckets *negative, pra_error *why)
{
    int rc = check_float_counts(negative, why);
    if (rc)
        return rc;
    if (float_zero_count(h) < 0)
        return pra__error(why, PRA_ERR_HISTOGRAM, 0,
                          "the zero bucket has count %g, but counts must not be negative",
                          float_zero_count(h));
    if (pra__double_of(h->count_bits) < 0)
        return pra__error(why, PRA_ERR_HISTOGRAM, 0, "count is %g, but must not be negative",
                          pra__double_of(h->count_bits));
    return check_float_counts(positive, why);
}

/* ---- custom buckets */

static int check_bounds(const double *bounds, size_t count, pra_error *why)
{
    for (size_t i = 0; i < count; i++) {
        if (isnan(bounds[i]))
            return pra__error(why, PRA_ERR_HISTOGRAM, 0,
                              "custom buckets: bound %zu is NaN, but bounds must be numbers", i);
        if (i && bounds[i] <= bounds[i - 1])
            return pra__error(why, PRA_ERR_HISTOGRAM, 0,
                              "custom buckets: bound %zu is %g after %g, but bounds must rise", i,
                              bounds[i], bounds[i - 1]);
    }
    if (count && bounds[count - 1] == (double)INFINITY)
        return pra__error(why, PRA_ERR_HISTOGRAM, 0,
                          "custom buckets: the last bound is +Inf; leave it out, it is implied");
    return PRA_OK;
}

static int check_custom_spans(const struct pra__buckets *side, size_t bounds, pra_error *why)
{
    uint64_t need = 0, reach = 0;
    for (size_t i = 0; i < side->span_count; i++) {
        if (side->spans[i].offset < 0)
            return wrong_offset(side, i, "with custom buckets it must not be negative", why);
        need += side->spans[i].length;
        reach += side->spans[i].length + (uint64_t)side->spans[i].offset;
    }
    if (need != side->count)
        return wrong_number(side, need, why);
    if (reach > (uint64_t)bounds + 1)
        return pra__error(why, PRA_ERR_HISTOGRAM, 0,
                          "custom buckets: the spans reach over %" PRIu64
                          " buckets, but %zu bounds make only %zu",
                          reach, bounds, bounds + 1);
    return PRA_OK;
}

static int check_custom(const pra_columns *c, const pra_histogram *h,
                        const struct pra__buckets *positive, const struct pra__buckets *negative,
                        pra_error *why)
{
    const size_t bounds = h->custom_values.count;
    const int zero_count =
        h->flags & PRA_HISTOGRAM_FLOAT ? float_zero_count(h) != 0 : integer_zero_count(h) != 0;
    int rc = bounds ? check_bounds(c->custom_values + h->custom_values.start, bounds, why) : PRA_OK;
    if (rc == PRA_OK)
        rc = check_custom_spans(positive, bounds, why);
    if (rc)
        return rc;
    if (zero_count || h->zero_threshold != 0)
        return pra__error(why, PRA_ERR_HISTOGRAM, 0,
                          "custom buckets: there is no zero bucket; %s must be 0",
                          zero_count ? "zero_count" : "zero_threshold");
    if (negative->span_count || negative->count)
        return pra__error(why, PRA_ERR_HISTOGRAM, 0,
                          "custom buckets: there is no negative side; leave its %s out",
                          negative->span_count ? "spans" : "buckets");
    return PRA_OK;
}

static int check_exponential(const pra_histogram *h, const struct pra__buckets *positive,
                             const struct pra__buckets *negative, pra_error *why)
{
    int rc = pra__spans_check(positive, why);
    if (rc == PRA_OK)
        rc = pra__spans_check(negative, why);
    if (rc == PRA_OK && h->custom_values.count)
        rc = pra__error(why, PRA_ERR_HISTOGRAM, 0,
                        "schema %" PRId32 " has no custom bounds; leave custom_values out or use "
                        "schema %d",
                        h->schema, PRA__SCHEMA_CUSTOM);
    return rc;
}

/* ---- the whole */

int pra__histogram_check(const pra_columns *columns, const pra_histogram *h, pra_error *why)
{
    struct pra__buckets positive, negative;
    int rc;
    pra__histogram_sides(columns, h, &positive, &negative);
    if (h->schema == PRA__SCHEMA_CUSTOM)
        rc = check_custom(columns, h, &positive, &negative, why);
    else if (h->schema >= PRA__SCHEMA_MIN && h->schema <= PRA__SCHEMA_MAX)
        rc = check_exponential(h, &positive, &negative, why);
    else
        rc = pra__error(why, PRA_ERR_HISTOGRAM, 0,
                        "schema %" PRId32 " is not supported; use %d to %d, or %d with custom "
                        "buckets",
                        h->schema, PRA__SCHEMA_MIN, PRA__SCHEMA_MAX, PRA__SCHEMA_CUSTOM);
    if (rc)
        return rc;
    return h->flags & PRA_HISTOGRAM_FLOAT ? check_float(h, &positive, &negative, why)
                                          : check_integer(h, &positive, &negative, why);
}

int pra_histogram_validate(const pra_columns *columns, size_t index, pra_error *why)
{
    if (!columns || columns->size < offsetof(pra_columns, metadata) ||
        index >= columns->histogram_count)
        return pra_error_set_cstr(why, PRA_ERR_INVALID_ARG, "there is no such histogram");
    const pra_histogram *h = &columns->histograms[index];
    if (pra__check_bucket_ranges(columns, h))
        return pra_error_set_cstr(why, PRA_ERR_INVALID_ARG,
                                  "a range of the histogram lies outside its column");
    return pra__histogram_check(columns, h, why);
}
