/* SPDX-License-Identifier: Apache-2.0 */
/* Compiling the matchers of a request, and asking whether a series satisfies a query. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "message/read_request.h"
#include "pra.h"
#include "support/failing_alloc.h"

#define S(literal) ((pra_str){(literal), sizeof(literal) - 1})
#define EQ PRA_MATCH_EQUAL
#define NE PRA_MATCH_NOT_EQUAL
#define RE PRA_MATCH_REGEX
#define NR PRA_MATCH_NOT_REGEX

static pra_str str(const char *s)
{
    return (pra_str){s, strlen(s)};
}

struct spec {
    int32_t type;
    const char *name;
    const char *value; /* NULL ends a query */
};

static int build(pra_read_request *req, const struct spec *matchers, size_t count)
{
    int rc = pra_read_request_add_query(req, 0, 1);
    for (size_t i = 0; i < count && !rc; i++)
        rc = matchers[i].value
                 ? pra_read_request_add_matcher(req, matchers[i].type, str(matchers[i].name),
                                                str(matchers[i].value))
                 : pra_read_request_add_query(req, 0, 1);
    return rc;
}

static pra_read_request *make(const struct spec *matchers, size_t count)
{
    pra_read_request *req;
    assert_int_equal(pra_read_request_new(NULL, &req), PRA_OK);
    assert_int_equal(build(req, matchers, count), PRA_OK);
    return req;
}

/* Asks both ways, the labels once as they are and once reversed. */
static int matches(const pra_query *query, const pra_label *labels, size_t count)
{
    char base[256] = "....";
    uint32_t at = 4;
    pra_label reversed[8];
    pra_label_span spans[8];
    for (size_t i = 0; i < count; i++) {
        reversed[count - 1 - i] = labels[i];
        const pra_str parts[] = {labels[i].name, labels[i].value};
        pra_span *into[] = {&spans[i].name, &spans[i].value};
        for (size_t j = 0; j < 2; j++) {
            if (parts[j].len)
                memcpy(base + at, parts[j].ptr, parts[j].len);
            *into[j] = (pra_span){at, (uint32_t)parts[j].len};
            at += (uint32_t)parts[j].len;
        }
    }
    int rc = pra_query_matches(query, labels, count);
    assert_int_equal(pra_query_matches(query, reversed, count), rc);
    assert_int_equal(pra_query_matches_spans(query, base, spans, count), rc);
    return rc;
}

static void all_matchers_must_hold(void **state)
{
    (void)state;
    const pra_label up[] = {{S("__name__"), S("up")}, {S("job"), S("api")}, {S("zone"), S("")}};
    static const struct {
        struct spec matchers[3];
        size_t count;
        int matches;
        const char *rule;
    } cases[] = {
        {{{EQ, "", ""}}, 0, 1, "no matcher: every series"},
        {{{EQ, "__name__", "up"}}, 1, 1, "the name is a label"},
        {{{RE, "__name__", "up|down"}}, 1, 1, "the name is a label"},
        {{{EQ, "__name__", "down"}}, 1, 0, "the name is a label"},
        {{{EQ, "__name__", "up"}, {EQ, "job", "api"}}, 2, 1, "all hold"},
        {{{EQ, "__name__", "up"}, {EQ, "job", "db"}}, 2, 0, "one does not hold"},
        {{{EQ, "job", "db"}, {EQ, "__name__", "up"}}, 2, 0, "one does not hold"},
        {{{RE, "job", "a.*"}, {NR, "job", ".*b"}, {NE, "job", ""}}, 3, 1, "several of one label"},
        {{{EQ, "missing", ""}}, 1, 1, "a missing label equals \"\""},
        {{{NE, "missing", ""}}, 1, 0, "a missing label equals \"\""},
        {{{NE, "missing", "x"}}, 1, 1, "a missing label is not x"},
        {{{RE, "missing", "x|"}}, 1, 1, "a missing label matches what \"\" matches"},
        {{{RE, "missing", ".+"}}, 1, 0, "a missing label matches what \"\" matches"},
        {{{NR, "missing", ".+"}}, 1, 1, "a missing label matches what \"\" matches"},
        {{{EQ, "zone", ""}}, 1, 1, "an empty label is a missing one"},
        {{{NE, "zone", ""}}, 1, 0, "an empty label is a missing one"},
        {{{EQ, "", ""}}, 1, 1, "a label without a name is missing"},
        {{{EQ, "JOB", "api"}}, 1, 0, "names mind case"},
        {{{EQ, "jo", "api"}}, 1, 0, "names are whole"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pra_read_request *req = make(cases[i].matchers, cases[i].count);
        assert_int_equal(pra_read_request_compile(req, NULL, NULL), PRA_OK);
        if (matches(pra_read_request_query(req, 0), up, 3) != cases[i].matches)
            fail_msg("R-06, case %zu: %s", i, cases[i].rule);
        pra_read_request_free(req);
    }
}

static void series_without_labels(void **state)
{
    (void)state;
    static const struct spec matchers[] = {{EQ, "a", ""}, {0, NULL, NULL}, {NE, "a", ""}};
    pra_read_request *req = make(matchers, 3);
    assert_int_equal(pra_read_request_compile(req, NULL, NULL), PRA_OK);
    assert_int_equal(pra_query_matches(pra_read_request_query(req, 0), NULL, 0), 1);
    assert_int_equal(pra_query_matches_spans(pra_read_request_query(req, 1), NULL, NULL, 0), 0);
    pra_read_request_free(req);
}

static void not_compiled_is_an_error(void **state)
{
    (void)state;
    static const struct spec matchers[] = {{EQ, "a", ""}};
    pra_read_request *req = make(matchers, 1);
    const pra_query *query = pra_read_request_query(req, 0);
    pra_str prefix;
    const pra_str *set;
    assert_int_equal(pra_query_matches(query, NULL, 0), PRA_ERR_STATE);
    assert_int_equal(pra_query_matches_spans(query, NULL, NULL, 0), PRA_ERR_STATE);
    assert_int_equal(pra_matcher_set(pra_query_matcher(query, 0), &set), 0);
    assert_int_equal(pra_matcher_prefix(pra_query_matcher(query, 0), &prefix), 0);
    pra_read_request_free(req);
}

static void equal_patterns_are_compiled_once(void **state)
{
    (void)state;
    static const struct spec matchers[] = {{RE, "a", "x.*y"}, {NR, "b", "x.*y"}, {EQ, "b", "x.*y"},
                                           {0, NULL, NULL},   {RE, "c", "x.*z"}, {RE, "a", "x.*y"}};
    pra_read_request *req = make(matchers, 6);
    assert_int_equal(pra_read_request_compile(req, NULL, NULL), PRA_OK);
    struct pra_query *first = pra__read_request_query(req, 0);
    struct pra_query *second = pra__read_request_query(req, 1);
    assert_ptr_equal(first->matchers[0].program, first->matchers[1].program);
    assert_ptr_equal(first->matchers[0].program, second->matchers[1].program);
    assert_ptr_not_equal(first->matchers[0].program, first->matchers[2].program);
    assert_ptr_not_equal(first->matchers[0].program, second->matchers[0].program);
    const pra_label labels[] = {{S("a"), S("xy")}, {S("b"), S("x.*y")}, {S("c"), S("xz")}};
    assert_int_equal(matches(first, labels, 3), 0);
    assert_int_equal(matches(second, labels, 3), 1);
    /* a second time is allowed, after more was added too */
    assert_int_equal(pra_read_request_add_matcher(req, NR, S("a"), S("x.*z")), PRA_OK);
    assert_int_equal(pra_query_matches(second, labels, 3), PRA_ERR_STATE);
    assert_int_equal(pra_read_request_compile(req, NULL, NULL), PRA_OK);
    assert_int_equal(matches(second, labels, 3), 1);
    pra_read_request_free(req);
}

static void errors_say_where(void **state)
{
    (void)state;
    static const struct spec bad_pattern[] = {
        {RE, "a", "x"}, {0, NULL, NULL}, {EQ, "b", "("}, {RE, "job", "a**"}};
    static const struct spec bad_type[] = {{7, "a", "x"}};
    pra_error err = {0};
    pra_read_request *req = make(bad_pattern, 4);
#ifdef PRA_HAVE_RE2
    assert_int_equal(pra_read_request_compile(req, NULL, &err), PRA_ERR_MATCHER);
    assert_string_equal(err.message, "query 1, matcher 1, label job: invalid regular expression: "
                                     "bad repetition operator: **");
    assert_int_equal(err.http_status, 400);
#else
    assert_int_equal(pra_read_request_compile(req, NULL, &err), PRA_ERR_NOT_SUPPORTED);
#endif
    pra_read_request_free(req);
    req = make(bad_type, 1);
    assert_int_equal(pra_read_request_compile(req, NULL, &err), PRA_ERR_MATCHER);
    assert_string_equal(err.message, "query 0, matcher 0, label a: unknown matcher type 7");
    pra_limits limits = {.size = sizeof(limits), .max_pattern_bytes = 2};
    pra_read_request_reset(req);
    assert_int_equal(build(req, bad_pattern, 4), PRA_OK);
    assert_int_equal(pra_read_request_compile(req, &limits, &err), PRA_ERR_PATTERN_TOO_LONG);
    assert_non_null(strstr(err.message, "max_pattern_bytes (2; raise it with --limit.pattern-le"));
    limits.size = 1;
    assert_int_equal(pra_read_request_compile(req, &limits, &err), PRA_ERR_INVALID_ARG);
    pra_read_request_free(req);
}

static pra_read_request *many(size_t count, const char *format)
{
    pra_read_request *req;
    char pattern[80];
    assert_int_equal(pra_read_request_new(NULL, &req), PRA_OK);
    assert_int_equal(pra_read_request_add_query(req, 0, 1), PRA_OK);
    for (size_t i = 0; i < count; i++) {
        int len = snprintf(pattern, sizeof(pattern), format, i);
        pra_str value = {pattern, (size_t)len};
        assert_int_equal(pra_read_request_add_matcher(req, RE, S("a"), value), PRA_OK);
    }
    return req;
}

/* Each would be fine alone. */
static void patterns_are_bounded_together(void **state)
{
    (void)state;
    pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = 64 * 1024};
    pra_error err = {0};
    pra_read_request *req = many(100, "%05zu|xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    assert_int_equal(pra_read_request_compile(req, NULL, NULL), PRA_OK);
    pra_read_request_free(req);
    req = many(2000, "%05zu|xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    assert_int_equal(pra_read_request_compile(req, &limits, &err), PRA_ERR_PATTERN_TOO_COSTLY);
    assert_non_null(strstr(err.message, "--limit.pattern-memory, --limit.request-memory)"));
    pra_read_request_free(req);
#ifdef PRA_HAVE_RE2
    req = many(10000, "[a-z]%zu");
    assert_int_equal(pra_read_request_compile(req, NULL, NULL), PRA_OK);
    pra_read_request_free(req);
    req = many(10000, "\\pL\\pN?%zu");
    assert_int_equal(pra_read_request_compile(req, NULL, NULL), PRA_ERR_PATTERN_TOO_COSTLY);
    pra_read_request_free(req);
#endif
    req = many(10000, "same.*"); /* one pattern, whatever its number */
    assert_int_equal(pra_read_request_compile(req, &limits, NULL), PRA_OK);
    pra_read_request_free(req);
}

static int compile_with(struct failing_alloc *f, void *arg)
{
    (void)arg;
    static const struct spec matchers[] = {{RE, "a", "x.*y"}, {NR, "b", "x.*y"}, {EQ, "b", "x"},
                                           {0, NULL, NULL},   {RE, "c", "x|y|"}, {RE, "a", "[z]"}};
    pra_read_request *req = NULL;
    int rc = pra_read_request_new(&f->alloc, &req);
    size_t count = 6;
#ifndef PRA_HAVE_RE2
    count--;
#endif
    if (!rc)
        rc = build(req, matchers, count);
    if (!rc)
        rc = pra_read_request_compile(req, NULL, NULL);
    if (rc == PRA_ERR_NOMEM && req) { /* and what was compiled is not lost */
        f->mode = FAIL_NEVER;
        assert_int_equal(pra_read_request_compile(req, NULL, NULL), PRA_OK);
    }
    pra_read_request_free(req);
    return rc;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    const char *wrong = failing_alloc_loop(compile_with, NULL);
    if (wrong)
        fail_msg("%s", wrong);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_matchers_must_hold),
        cmocka_unit_test(series_without_labels),
        cmocka_unit_test(not_compiled_is_an_error),
        cmocka_unit_test(equal_patterns_are_compiled_once),
        cmocka_unit_test(errors_say_where),
        cmocka_unit_test(patterns_are_bounded_together),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
