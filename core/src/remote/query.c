/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/str.h"
#include "message/read_request.h"
#include "remote/matcher.h"
#include "remote/pattern.h"

/* What the regular expressions of one request may cost together while they are compiled: about a
 * second of work if all of it is used; see pra__regex_new. */
#define REQUEST_EFFORT (UINT64_C(256) << 20)

static int compile_one(struct pra_matcher *matcher, const pra_alloc *alloc,
                       struct pra__compile_opts *opts, size_t query, size_t index, pra_error *err)
{
    pra_error why = {0};
    int rc = pra__matcher_compile(matcher, alloc, opts, &why);
    if (rc)
        pra__error(err, rc, 0, "query %zu, matcher %zu, label %.*s: %s", query, index,
                   (int)(matcher->name.len < 40 ? matcher->name.len : 40),
                   matcher->name.len ? matcher->name.ptr : "", why.message);
    return rc;
}

/* The regular expressions of a request, sorted, so that equal ones are compiled once. */
struct patterns {
    const pra_str **sorted; /* each is the value of a pra_matcher */
    size_t count;
    size_t distinct;
};

static struct pra_matcher *matcher_of(const pra_str *value)
{
    return (struct pra_matcher *)((char *)value - offsetof(struct pra_matcher, value));
}

static size_t collect(pra_read_request *req, const pra_str **out)
{
    size_t n = 0;
    for (size_t q = 0; q < pra_read_request_query_count(req); q++) {
        struct pra_query *query = pra__read_request_query(req, q);
        for (size_t m = 0; m < query->matcher_count; m++)
            if (pra__matcher_is_regex(&query->matchers[m])) {
                if (out)
                    out[n] = &query->matchers[m].value;
                n++;
            }
    }
    return n;
}

static int patterns_init(struct patterns *patterns, pra_read_request *req)
{
    *patterns = (struct patterns){NULL, collect(req, NULL), 0};
    if (patterns->count == 0)
        return PRA_OK;
    patterns->sorted =
        pra__malloc(pra__read_request_alloc(req), patterns->count * sizeof(*patterns->sorted));
    if (!patterns->sorted)
        return PRA_ERR_NOMEM;
    collect(req, patterns->sorted);
    pra__sort_strs(patterns->sorted, patterns->count);
    for (size_t i = 0; i < patterns->count; i++)
        patterns->distinct +=
            i == 0 || !pra__str_equal(*patterns->sorted[i - 1], *patterns->sorted[i]);
    return PRA_OK;
}

/* Hands the program of matcher to all that have the same pattern and none yet. */
static void share(const struct patterns *patterns, const struct pra_matcher *matcher)
{
    size_t low = 0, high = patterns->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (pra__str_compare(*patterns->sorted[middle], matcher->value) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < patterns->count && pra__str_equal(*patterns->sorted[low], matcher->value); low++) {
        struct pra_matcher *other = matcher_of(patterns->sorted[low]);
        if (!other->program)
            pra__matcher_share(other, matcher);
    }
}

static int compile_all(pra_read_request *req, const struct patterns *patterns,
                       struct pra__compile_opts *opts, pra_error *err)
{
    const pra_alloc *alloc = pra__read_request_alloc(req);
    for (size_t q = 0; q < pra_read_request_query_count(req); q++) {
        struct pra_query *query = pra__read_request_query(req, q);
        for (size_t m = 0; m < query->matcher_count; m++) {
            struct pra_matcher *matcher = &query->matchers[m];
            if (matcher->program)
                continue;
            int rc = compile_one(matcher, alloc, opts, q, m, err);
            if (rc)
                return rc;
            if (pra__matcher_is_regex(matcher))
                share(patterns, matcher);
        }
    }
    return PRA_OK;
}

int pra_read_request_compile(pra_read_request *req, const pra_limits *limits, pra_error *err)
{
    pra_limits all;
    struct patterns patterns;
    int rc = req ? pra__limits_resolve(limits, &all) : PRA_ERR_INVALID_ARG;
    if (rc)
        return pra_error_set_cstr(err, rc, pra_strerror(rc));
    if (patterns_init(&patterns, req))
        return pra__nomem(err);
    /* All programs together stay below max_memory_bytes, whatever their number. */
    uint64_t fair = patterns.distinct ? all.max_memory_bytes / patterns.distinct : 0;
    struct pra__compile_opts opts = {
        all.max_pattern_bytes,
        all.max_pattern_memory < fair ? all.max_pattern_memory : fair,
        REQUEST_EFFORT,
    };
    rc = compile_all(req, &patterns, &opts, err);
    pra__free(pra__read_request_alloc(req), patterns.sorted,
              patterns.count * sizeof(*patterns.sorted));
    return rc;
}

int pra_query_matches(const pra_query *query, const pra_label *labels, size_t count)
{
    int rc = 1;
    for (size_t m = 0; m < query->matcher_count && rc == 1; m++) {
        const struct pra_matcher *matcher = &query->matchers[m];
        pra_str value = {NULL, 0};
        for (size_t i = 0; i < count; i++)
            if (pra__str_equal(labels[i].name, matcher->name)) {
                value = labels[i].value;
                break;
            }
        rc = pra_matcher_matches(matcher, value);
    }
    return rc;
}

int pra_query_matches_spans(const pra_query *query, const char *base, const pra_label_span *labels,
                            size_t count)
{
    int rc = 1;
    for (size_t m = 0; m < query->matcher_count && rc == 1; m++) {
        const struct pra_matcher *matcher = &query->matchers[m];
        pra_str value = {NULL, 0};
        for (size_t i = 0; i < count; i++) {
            pra_str name = {base + labels[i].name.off, labels[i].name.len};
            if (pra__str_equal(name, matcher->name)) {
                value = (pra_str){base + labels[i].value.off, labels[i].value.len};
                break;
            }
        }
        rc = pra_matcher_matches(matcher, value);
    }
    return rc;
}
