/* SPDX-License-Identifier: Apache-2.0 */
/* What rules of relabelling do to one set of labels: the cases of Prometheus' own tests, and more.
 * tests/peers/differ compares any rules and labels with Prometheus itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pra.h"
#include "support/failing_alloc.h"
#include "support/relabelling.h"
#include "support/text.h"

/* A rule says what it is about, and no more. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define STR(s) ((pra_str){(s), sizeof(s) - 1})

/* Without RE2 there are rules that are not understood: what needs them is passed over. */
static int is_missing(int rc)
{
#ifdef PRA_HAVE_RE2
    (void)rc;
    return 0;
#else
    return rc == PRA_ERR_NOT_SUPPORTED;
#endif
}

/* after NULL: dropped. */
struct example {
    const char *before;
    struct short_rule rules[8];
    const char *after;
};

static struct text relabelled(const struct example *e, int *rc)
{
    pra_label labels[SHORT_LABELS];
    const pra_label *left = NULL;
    const size_t count = labels_of(e->before, labels);
    size_t left_count = 0;
    struct text t = {0};
    pra_relabel *relabel;
    pra_arena *arena;
    pra_error err = {0};
    *rc = relabel_of(NULL, e->rules, NULL, &relabel, &err);
    if (is_missing(*rc))
        return t;
    if (*rc)
        fail_msg("%s", err.message);
    assert_int_equal(pra_arena_new(NULL, 0, &arena), PRA_OK);
    *rc = pra_relabel_labels(relabel, labels, count, arena, &left, &left_count, &err);
    text_of_labels(&t, left, left_count);
    pra_arena_free(arena);
    pra_relabel_free(relabel);
    return t;
}

static void check(const struct example *e)
{
    int rc;
    struct text got = relabelled(e, &rc);
    if (is_missing(rc))
        return;
    assert_int_equal(rc, e->after ? PRA_OK : PRA_DONE);
    assert_string_equal(got.data, e->after ? e->after : "");
    text_free(&got);
}

#define CHECK_ALL(examples)                                                                        \
    for (size_t i = 0; i < sizeof(examples) / sizeof(*(examples)); i++)                            \
    check(&(examples)[i])

/* ── Prometheus' own cases ── */

#define ABC "a=foo|b=bar|c=baz"

static void replace_expands_groups(void **state)
{
    static const struct example examples[] = {
        {ABC, {{"replace", "a", "f(.*)", "d", "ch${1}-ch${1}"}}, ABC "|d=choo-choo"},
        {ABC,
         {{"replace", "a,b", "f(.*);(.*)r", "a", "b${1}${2}m"},
          {"replace", "c,a", "(b).*b(.*)ba(.*)", "d", "$1$2$2$3"}},
         "a=boobam|b=bar|c=baz|d=boooom"},
        {"a=abc", {{"replace", "a", ".*(b).*", "d", "$1"}}, "a=abc|d=b"},
        {"a=boo", {{"replace", "a", "f", "b", "bar"}}, "a=boo"},
        {"a=foo|f=baz", {{"replace", "a", "(f).*", "$1", "$2"}}, "a=foo"},
        {"a=some-name-value",
         {{"replace", "a", "some-([^-]+)-([^,]+)", "${1}", "${2}"}},
         "a=some-name-value|name=value"},
        {"a=some-name-value",
         {{"replace", "a", "some-([^-]+)-([^,]+)", "${1}", "${3}"}},
         "a=some-name-value"},
        {"a=some-name-0",
         {{"replace", "a", "some-([^-]+)-([^,]+)", "${3}", "${1}"},
          {"replace", "a", "some-([^-]+)(-[^,]+)", "${3}", "${1}"}},
         "a=some-name-0"},
        {"__meta_sd_tags=path:/secret,job:some-job,label:foo=bar",
         {{"replace", "__meta_sd_tags", "(?:.+,|^)path:(/[^,]+).*", "__metrics_path__", "${1}"},
          {"replace", "__meta_sd_tags", "(?:.+,|^)job:([^,]+).*", "job", "${1}"},
          {"replace", "__meta_sd_tags", "(?:.+,|^)label:([^=]+)=([^,]+).*", "${1}", "${2}"}},
         "__meta_sd_tags=path:/secret,job:some-job,label:foo=bar|__metrics_path__=/secret|foo=bar|"
         "job=some-job"},
        {"a=line1\nline2|b=bar",
         {{"replace", "a", "line1.*line2", "d", "match${1}"}},
         "a=line1\nline2|b=bar|d=match"},
        {"b=bar|utf-8.label=line1\nline2",
         {{"replace", "utf-8.label", "line1.*line2", "d", "match${1}"}},
         "b=bar|d=match|utf-8.label=line1\nline2"},
        {"a=line1\nline2",
         {{"replace", "a", "line1.*line2", "utf-8.label", "match${1}"}},
         "a=line1\nline2|utf-8.label=match"},
        {"a=line1\nline2",
         {{"replace", "a", "(line1).*(line2)", "utf-8.$1.label", "match${2}"}},
         "a=line1\nline2|utf-8.line1.label=matchline2"},
        {"a=line1\nline2",
         {{"replace", "a", "(line1).*(?<second>line2)", "label1_${1}", "val_${second}"},
          {"replace", "a", "(line1).*(?<second>line2)", "label2_$1", "val_$second"}},
         "a=line1\nline2|label1_line1=val_line2|label2_line1=val_line2"},
        {"__name__=http_requests_total",
         {{"replace", "__name__", ".*_total$", "__type__", "counter"}},
         "__name__=http_requests_total|__type__=counter"},
    };
    (void)state;
    CHECK_ALL(examples);
}

static void keep_and_drop_go_by_the_value(void **state)
{
    static const struct example examples[] = {
        {"a=foo", {{"drop", "a", ".*o.*"}, {"replace", "a", "f(.*)", "d", "ch$1-ch$1"}}, NULL},
        {"a=foo|b=bar", {{"drop", "a", ".*o.*"}}, NULL},
        {"a=foo", {{"drop", "a", "no-match"}}, "a=foo"},
        {"a=foo", {{"drop", "a", "f|o"}}, "a=foo"},
        {"a=foo", {{"keep", "a", "no-match"}}, NULL},
        {"a=foo", {{"keep", "a", "f.*"}}, "a=foo"},
        {"__tmp_port=1234|__port1=1234",
         {{"keepequal", "__tmp_port", NULL, "__port1"}},
         "__port1=1234|__tmp_port=1234"},
        {"__tmp_port=1234|__port1=1234", {{"dropequal", "__tmp_port", NULL, "__port1"}}, NULL},
        {"__tmp_port=1234|__port2=5678",
         {{"dropequal", "__tmp_port", NULL, "__port2"}},
         "__port2=5678|__tmp_port=1234"},
        {"__tmp_port=1234|__port2=5678", {{"keepequal", "__tmp_port", NULL, "__port2"}}, NULL},
        /* what is missing is empty */
        {"a=foo", {{"drop", "b", ""}}, NULL},
        {"a=foo", {{"keep", "b,c", ";"}}, "a=foo"},
        {"a=foo", {{"keepequal", "b", NULL, "c"}}, "a=foo"},
        {"a=foo", {{"keep", NULL, ".+"}}, NULL},
    };
    (void)state;
    CHECK_ALL(examples);
}

static void hashmod_is_that_of_md5(void **state)
{
    static const struct example examples[] = {
        {ABC, {{"hashmod", "c", NULL, "d", .modulus = 1000}}, ABC "|d=976"},
        {"a=foo\nbar", {{"hashmod", "a", NULL, "b", .modulus = 1000}}, "a=foo\nbar|b=734"},
        {"a=foo",
         {{"hashmod", "b", NULL, "b", .modulus = UINT64_MAX}},
         "a=foo|b=16825458760271544958"},
    };
    (void)state;
    CHECK_ALL(examples);
}

static void names_are_mapped_dropped_and_kept(void **state)
{
    static const struct example examples[] = {
        {"a=foo|b1=bar|b2=baz",
         {{"labelmap", NULL, "(b.*)", NULL, "bar_${1}"}},
         "a=foo|b1=bar|b2=baz|bar_b1=bar|bar_b2=baz"},
        {"a=foo|__meta_my_bar=aaa|__meta_my_baz=bbb|__meta_other=ccc",
         {{"labelmap", NULL, "__meta_(my.*)", NULL, "${1}"}},
         "__meta_my_bar=aaa|__meta_my_baz=bbb|__meta_other=ccc|a=foo|my_bar=aaa|my_baz=bbb"},
        {"container_port_name=foo|metrics_port=9091",
         {{"labeldrop", NULL, "^container_port_name$"},
          {"replace", "metrics_port", "(.+)", "container_port_name", "metrics"},
          {"keep", "container_port_name", "^metrics$"}},
         "container_port_name=metrics|metrics_port=9091"},
        {"a=foo|b1=bar|b2=baz", {{"labelkeep", NULL, "(b.*)"}}, "b1=bar|b2=baz"},
        {"a=foo|b1=bar|b2=baz", {{"labeldrop", NULL, "(b.*)"}}, "a=foo"},
        {"a=foo", {{"labeldrop", NULL, ".*"}}, ""},
    };
    (void)state;
    CHECK_ALL(examples);
}

static void letters_change_their_case(void **state)
{
    static const struct example examples[] = {
        {"foo=bAr123Foo",
         {{"uppercase", "foo", NULL, "foo_uppercase"}, {"lowercase", "foo", NULL, "foo_lowercase"}},
         "foo=bAr123Foo|foo_lowercase=bar123foo|foo_uppercase=BAR123FOO"},
        /* rune by rune: ß has no single upper case, İ becomes i */
        {"a=straße Ünï ǆ İ ȿ",
         {{"uppercase", "a", NULL, "b"}, {"lowercase", "b", NULL, "c"}},
         "a=straße Ünï ǆ İ ȿ|b=STRAßE ÜNÏ Ǆ İ Ȿ|c=straße ünï ǆ i ȿ"},
        {"a=\xff-x", {{"uppercase", "a", NULL, "a"}}, "a=\xef\xbf\xbd-X"},
        {"a=x", {{"lowercase", "b", NULL, "a"}}, ""},
    };
    (void)state;
    CHECK_ALL(examples);
}

/* ── What those leave open ── */

static void templates_are_those_of_go(void **state)
{
    static const struct example examples[] = {
        {"a=xy",
         {{"replace", "a", "(x)(y)", "b", "$$1 $2$$ $ $- ${ ${} ${1 $"}},
         "a=xy|b=$1 y$ $ $- ${ ${} ${1 $"},
        {"a=xy",
         {{"replace", "a", "(x)(y)", "b", "[$0][$1x][${1}x][$3][$01][$999999999999]"}},
         "a=xy|b=[xy][][xx][][][]"},
        {"a=xy", {{"replace", "a", "(x)|(y)|xy", "b", "<$1$2>"}}, "a=xy|b=<>"},
        {"a=x", {{"replace", "a", "(?P<n\xc3\xa9>x)|y", "b", "[$n\xc3\xa9]"}}, "a=x|b=[x]"},
        {"a=x",
         {{"replace", "a", "(x)", "b$$", "[$1\xc3\xa9][$1\xe2\x80\x94]"}},
         "a=x|b$=[][x\xe2\x80\x94]"},
        {"a=xyz", {{"replace", "a", "(x(y(z)))", "b", "$3$2$1"}}, "a=xyz|b=zyzxyz"},
    };
    (void)state;
    CHECK_ALL(examples);
}

static void labels_set_to_nothing_are_removed(void **state)
{
    static const struct example examples[] = {
        {"a=1|b=2", {{"replace", NULL, NULL, "a", ""}}, "b=2"},
        {"a=|b=2", {{"drop", "x", "y"}}, "b=2"},
        {"a=1", {{"replace", "x", NULL, "a", "$1"}}, ""},
        {"a=1", {{"replace", NULL, NULL, "b", "c"}, {"replace", NULL, NULL, "b", ""}}, "a=1"},
        /* a name that nothing is left of is none */
        {"a=1", {{"labelmap", NULL, "a(.*)", NULL, "$1"}}, "a=1"},
        {"a=1", {{"replace", "a", "(2)?1", "$1", "x"}}, "a=1"},
    };
    (void)state;
    CHECK_ALL(examples);
}

/* Labels that come to the same name: those that came as they are before those that were set, and
 * these in the order in which they were. The last counts. */
static void labelmap_takes_labels_in_prometheus_order(void **state)
{
    static const struct example examples[] = {
        {"ax=1|bx=2", {{"labelmap", NULL, "[ab](x)", NULL, "$1"}}, "ax=1|bx=2|x=2"},
        {"ax=1|bx=2",
         {{"replace", NULL, NULL, "ax", "3"}, {"labelmap", NULL, "[ab](x)", NULL, "$1"}},
         "ax=3|bx=2|x=3"},
        {"ax=1|bx=2|cx=5",
         {{"replace", NULL, NULL, "cx", "3"},
          {"replace", NULL, NULL, "ax", "4"},
          {"replace", NULL, NULL, "cx", "6"},
          {"labelmap", NULL, "[abc](x)", NULL, "$1"}},
         "ax=4|bx=2|cx=6|x=4"},
        /* what is set meanwhile is not seen */
        {"a=1|xa=2|xxa=3", {{"labelmap", NULL, "(.*)", NULL, "x$1"}}, "a=1|xa=1|xxa=2|xxxa=3"},
    };
    (void)state;
    CHECK_ALL(examples);
}

static void labels_may_come_in_any_order(void **state)
{
    static const struct example examples[] = {
        {"c=3|a=1|b=2", {{"replace", "c", NULL, "aa", "$1"}}, "a=1|aa=3|b=2|c=3"},
        {"c=3|a=1|b=2", {{NULL}}, "a=1|b=2|c=3"},
        {"", {{"replace", NULL, NULL, "a", "b"}}, "a=b"},
        {"", {{NULL}}, ""},
    };
    (void)state;
    CHECK_ALL(examples);
}

/* ── Rules that are none ── */

static void faults_are_told_with_the_rule(void **state)
{
    static const struct {
        struct short_rule rule;
        int code;
        const char *message;
    } faults[] = {
        {{"nothing"}, PRA_ERR_INVALID_ARG, "unknown action -1001: take a PRA_RELABEL_…"},
        {{"replace", "a"},
         PRA_ERR_INVALID_ARG,
         "(replace): target_label is missing: name the label that it is about"},
        {{"keepequal", "a"},
         PRA_ERR_INVALID_ARG,
         "(keepequal): target_label is missing: name the label that it is about"},
        {{"hashmod", "a", NULL, "b"},
         PRA_ERR_INVALID_ARG,
         "(hashmod): modulus is missing: give a number above 0"},
        {{"lowercase", "a", NULL, "b", "x"},
         PRA_ERR_INVALID_ARG,
         "(lowercase): replacement has no meaning here: leave it out"},
        {{"dropequal", "a", "x", "b"},
         PRA_ERR_INVALID_ARG,
         "(dropequal): takes source_labels and target_label only: leave out the rest"},
        {{"keepequal", "a", NULL, "b", .separator = ","},
         PRA_ERR_INVALID_ARG,
         "(keepequal): takes source_labels and target_label only: leave out the rest"},
        {{"labeldrop", "a", "x"},
         PRA_ERR_INVALID_ARG,
         "(labeldrop): takes regex only: leave out the rest"},
        {{"labelkeep", NULL, "x", .modulus = 1},
         PRA_ERR_INVALID_ARG,
         "(labelkeep): takes regex only: leave out the rest"},
        {{"labelmap", NULL, "x", NULL, ""},
         PRA_ERR_INVALID_ARG,
         "(labelmap): replacement is empty: give the new name, as $1"},
        {{"replace", "a", NULL, "\xff"},
         PRA_ERR_INVALID_ARG,
         "(replace): target_label is not UTF-8"},
        {{"replace", "\xff", NULL, "a"},
         PRA_ERR_INVALID_ARG,
         "(replace): source_labels has a name that is empty or not UTF-8"},
        {{"replace", "a,,b", NULL, "a"},
         PRA_ERR_INVALID_ARG,
         "(replace): source_labels has a name that is empty or not UTF-8"},
        {{"replace", "a", NULL, "a", "\xff"},
         PRA_ERR_INVALID_ARG,
         "(replace): separator or replacement is not UTF-8"},
#ifdef PRA_HAVE_RE2
        {{"drop", "a", "("}, PRA_ERR_MATCHER, "(drop): invalid regular expression: missing ): ("},
        {{"drop", "a", "\xff"},
         PRA_ERR_MATCHER,
         "(drop): invalid regular expression: invalid UTF-8"},
        {{"uppercase", "a", "[", "b"},
         PRA_ERR_MATCHER,
         "(uppercase): invalid regular expression: missing ]: ["},
#endif
    };
    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        const struct short_rule list[] = {{"drop", "a", "b"}, faults[i].rule, {NULL}};
        pra_relabel *relabel = NULL;
        pra_error err = {0};
        char message[300];
        (void)snprintf(message, sizeof(message), "relabel rule 2%s%s",
                       *faults[i].message == '(' ? " " : ": ", faults[i].message);
        assert_int_equal(relabel_of(NULL, list, NULL, &relabel, &err), faults[i].code);
        assert_string_equal(err.message, message);
        assert_null(relabel);
    }
}

static void rules_have_the_size_of_their_header(void **state)
{
    struct {
        pra_relabel_rule rule;
        uint64_t more;
    } rules[2];
    pra_relabel *relabel;
    pra_error err = {0};
    (void)state;
    assert_int_equal(pra_relabel_rule_init(NULL, sizeof(rules[0])), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_relabel_rule_init(&rules[0].rule, 4), PRA_ERR_INVALID_ARG);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pra_relabel_rule_init(&rules[i].rule, sizeof(rules[i])), PRA_OK);
        rules[i].rule.action = PRA_RELABEL_DROP;
        assert_int_equal(rules[i].more, 0);
        assert_int_equal(rules[i].rule.separator.len, 1);
        assert_int_equal(rules[i].rule.regex.len, 4);
        assert_int_equal(rules[i].rule.replacement.len, 2);
    }
    assert_int_equal(pra_relabel_new(NULL, &rules[0].rule, 2, NULL, &relabel, NULL), PRA_OK);
    pra_relabel_free(relabel);
    rules[1].more = 1;
    assert_int_equal(pra_relabel_new(NULL, &rules[0].rule, 2, NULL, &relabel, &err),
                     PRA_ERR_UNSUPPORTED_OPTION);
    assert_non_null(strstr(err.message, "relabel rule 2"));
    rules[1].rule.size = 0;
    assert_int_equal(pra_relabel_new(NULL, &rules[0].rule, 2, NULL, &relabel, NULL),
                     PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_relabel_new(NULL, NULL, 1, NULL, &relabel, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_relabel_new(NULL, NULL, 0, NULL, &relabel, NULL), PRA_OK);
    pra_relabel_free(relabel);
    pra_relabel_free(NULL);
}

static void actions_have_names(void **state)
{
    (void)state;
    assert_int_equal(pra_relabel_action(STR("replace")), PRA_RELABEL_REPLACE);
    assert_int_equal(pra_relabel_action(STR("LabelMap")), PRA_RELABEL_LABELMAP);
    assert_int_equal(pra_relabel_action(STR("uppercase")), PRA_RELABEL_UPPERCASE);
    assert_int_equal(pra_relabel_action(STR("label")), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_relabel_action(STR("keeps")), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_relabel_action(STR("")), PRA_ERR_INVALID_ARG);
}

#ifdef PRA_HAVE_RE2 /* which all of these take */

/* ── Limits ── */

static int limited(const struct short_rule *list, const pra_limits *limits, const char *before,
                   pra_error *err)
{
    pra_label labels[SHORT_LABELS];
    const pra_label *left;
    const size_t count = labels_of(before, labels);
    size_t left_count;
    pra_relabel *relabel;
    pra_arena *arena;
    assert_int_equal(relabel_of(NULL, list, limits, &relabel, NULL), PRA_OK);
    assert_int_equal(pra_arena_new(NULL, 0, &arena), PRA_OK);
    int rc = pra_relabel_labels(relabel, labels, count, arena, &left, &left_count, err);
    pra_arena_free(arena);
    pra_relabel_free(relabel);
    return rc;
}

static void rules_make_no_more_than_limits_allow(void **state)
{
    static const struct short_rule twice[] = {{"replace", "a", "(.)(.*)", "a", "$1$2$1$2"},
                                              {"replace", "a", "(.)(.*)", "a", "$1$2$1$2"},
                                              {"replace", "a", "(.)(.*)", "a", "$1$2$1$2"},
                                              {NULL}};
    static const struct short_rule names[] = {
        {"labelmap", NULL, "(.*)", NULL, "x$1"}, {"labelmap", NULL, "(.*)", NULL, "y$1"}, {NULL}};
    static const struct short_rule join[] = {{"keep", "a,a,a,a", "b"}, {NULL}};
    static const struct short_rule upper[] = {{"uppercase", "a,a,a,a", NULL, "b"}, {NULL}};
    pra_limits limits = {.size = sizeof(limits)};
    pra_error err = {0};
    (void)state;
    limits.max_label_value_bytes = 31;
    assert_int_equal(limited(twice, &limits, "a=0123", &err), PRA_ERR_LABEL_VALUE_LENGTH);
    assert_string_equal(err.message, "relabel rule 3 (replace) makes more than 31 bytes of a value "
                                     "(max_label_value_bytes): change the rule or raise the limit");
    assert_int_equal(limited(upper, &limits, "a=01234567", &err), PRA_ERR_LABEL_VALUE_LENGTH);
    limits.max_label_value_bytes = 32;
    assert_int_equal(limited(twice, &limits, "a=0123", &err), PRA_OK);
    assert_int_equal(limited(upper, &limits, "a=01234567", &err), PRA_ERR_LABEL_VALUE_LENGTH);
    limits.max_labels_per_series = 7;
    assert_int_equal(limited(names, &limits, "a=1|b=2", &err), PRA_ERR_LABEL_COUNT);
    assert_non_null(strstr(err.message, "relabel rule 2 (labelmap) makes more than 7 labels"));
    limits.max_labels_per_series = 8;
    assert_int_equal(limited(names, &limits, "a=1|b=2", &err), PRA_OK);
    limits.max_label_name_bytes = 2;
    assert_int_equal(limited(names, &limits, "a=1|b=2", &err), PRA_ERR_LABEL_NAME_LENGTH);
    limits.max_memory_bytes = 2000;
    assert_int_equal(limited(join, &limits, "a=0", &err), PRA_DONE);
    char long_one[1003] = "a=";
    memset(long_one + 2, 'x', 1000);
    assert_int_equal(limited(join, &limits, long_one, &err), PRA_ERR_MEMORY_BUDGET);
    assert_non_null(strstr(err.message, "max_memory_bytes"));
}

static void patterns_have_the_limits_of_matchers(void **state)
{
    static const struct short_rule costly[] = {{"drop", "a", "(\\pL{100})?x.y"}, {NULL}};
    pra_limits limits = {.size = sizeof(limits), .max_pattern_bytes = 10};
    pra_relabel *relabel = NULL;
    (void)state;
    assert_int_equal(relabel_of(NULL, costly, &limits, &relabel, NULL), PRA_ERR_PATTERN_TOO_LONG);
    limits.max_pattern_bytes = 0;
    limits.max_pattern_memory = 1000;
    assert_int_equal(relabel_of(NULL, costly, &limits, &relabel, NULL), PRA_ERR_PATTERN_TOO_COSTLY);
    limits.max_pattern_memory = 0;
    limits.max_memory_bytes = 1000;
    assert_int_equal(relabel_of(NULL, costly, &limits, &relabel, NULL), PRA_ERR_PATTERN_TOO_COSTLY);
    assert_null(relabel);
}

static void many_labels_and_groups_are_handled(void **state)
{
    static const struct example example = {
        "a=abcdefghijkl",
        {{"replace", "a", "(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)", "b", "$12$11$1"}},
        "a=abcdefghijkl|b=lka"};
    struct text before = {0}, after = {0};
    int rc;
    (void)state;
    check(&example);
    text_bytes(&before, "", 0);
    for (int i = 0; i < 60; i++)
        text_printf(&before, "%sb%02d=%d", i ? "|" : "", i, i);
    for (int i = 0; i < 60; i++)
        text_printf(&after, "%sa%02d=%d", i ? "|" : "", i, i);
    const struct example mapped = {
        before.data,
        {{"labelmap", NULL, "b(.*)", NULL, "a$1"}, {"labeldrop", NULL, "b.*"}},
        after.data};
    struct text got = relabelled(&mapped, &rc);
    assert_int_equal(rc, PRA_OK);
    assert_string_equal(got.data, after.data);
    text_free(&got);
    text_free(&before);
    text_free(&after);
}

/* ── Memory ── */

static int everything(struct failing_alloc *f, void *arg)
{
    static const struct short_rule list[] = {
        {"replace", "a,b", "f(.*);(.*)r", "${1}x", "b${1}$n"},
        {"hashmod", "a", NULL, "c", .modulus = 7},
        {"labelmap", NULL, "(a|b)", NULL, "x_$1"},
        {"labeldrop", NULL, "[xyz]"},
        {"uppercase", "b", NULL, "b"},
        {NULL},
    };
    pra_label labels[SHORT_LABELS];
    const pra_label *left;
    const size_t count = labels_of("a=foo|b=bar", labels);
    size_t left_count;
    pra_relabel *relabel;
    pra_arena *arena;
    pra_error err = {0};
    (void)arg;
    int rc = relabel_of(&f->alloc, list, NULL, &relabel, &err);
    if (rc)
        return rc;
    rc = pra_arena_new(&f->alloc, 0, &arena);
    if (rc == PRA_OK) {
        rc = pra_relabel_labels(relabel, labels, count, arena, &left, &left_count, &err);
        pra_arena_free(arena);
    }
    pra_relabel_free(relabel);
    return rc;
}

static void every_refused_allocation_is_told(void **state)
{
    (void)state;
    assert_null(failing_alloc_loop(everything, NULL));
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replace_expands_groups),
        cmocka_unit_test(keep_and_drop_go_by_the_value),
        cmocka_unit_test(hashmod_is_that_of_md5),
        cmocka_unit_test(names_are_mapped_dropped_and_kept),
        cmocka_unit_test(letters_change_their_case),
        cmocka_unit_test(templates_are_those_of_go),
        cmocka_unit_test(labels_set_to_nothing_are_removed),
        cmocka_unit_test(labelmap_takes_labels_in_prometheus_order),
        cmocka_unit_test(labels_may_come_in_any_order),
        cmocka_unit_test(faults_are_told_with_the_rule),
        cmocka_unit_test(rules_have_the_size_of_their_header),
        cmocka_unit_test(actions_have_names),
#ifdef PRA_HAVE_RE2
        cmocka_unit_test(rules_make_no_more_than_limits_allow),
        cmocka_unit_test(patterns_have_the_limits_of_matchers),
        cmocka_unit_test(many_labels_and_groups_are_handled),
        cmocka_unit_test(every_refused_allocation_is_told),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
