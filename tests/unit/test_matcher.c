/* SPDX-License-Identifier: Apache-2.0 */
/* What a matcher means [R-06]: tables, then random patterns against RE2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "pra.h"
#include "remote/pattern.h"
#include "remote/regex.h"
#include "support/failing_alloc.h"

#define S(literal) ((pra_str){(literal), sizeof(literal) - 1})
#define EQ PRA_MATCH_EQUAL
#define NE PRA_MATCH_NOT_EQUAL
#define RE PRA_MATCH_REGEX
#define NR PRA_MATCH_NOT_REGEX

#ifdef PRA_HAVE_RE2
static const int have_re2 = 1;
#else
static const int have_re2 = 0; /* patterns that need it are left out of the tables */
#endif

struct row {
    int32_t type;
    pra_str pattern;
    pra_str value; /* "" is also the missing label */
    int matches;
    const char *rule;
};

static const struct row rows[] = {
    {EQ, S("a"), S("a"), 1, "equality"},
    {EQ, S("a"), S("A"), 0, "equality minds case"},
    {EQ, S("a"), S("ab"), 0, "equality is of the whole"},
    {EQ, S(""), S(""), 1, "=\"\" selects the missing label"},
    {EQ, S(""), S("a"), 0, "=\"\" refuses a value"},
    {NE, S(""), S(""), 0, "!=\"\" refuses the missing label"},
    {NE, S(""), S("a"), 1, "!=\"\" selects any value"},
    {NE, S("a"), S(""), 1, "!=\"a\" selects the missing label"},
    {EQ, S("a.*"), S("ab"), 0, "equality is no pattern"},
    {EQ, S("a\0b"), S("a\0b"), 1, "NUL is a character"},
    {EQ, S("a\0b"), S("a\0c"), 0, "NUL does not end a value"},
    {EQ, S("a\0b"), S("a"), 0, "NUL does not end a value"},
    {EQ, S("\xff"), S("\xff"), 1, "equality compares bytes"},

    {RE, S(""), S(""), 1, "empty pattern, missing label"},
    {RE, S(""), S("a"), 0, "empty pattern is anchored"},
    {RE, S(".*"), S(""), 1, "=~\".*\" selects the missing label"},
    {RE, S(".*"), S("x\ny"), 1, "dot matches newline"},
    {RE, S(".+"), S(""), 0, "=~\".+\" refuses the missing label"},
    {RE, S(".+"), S("x"), 1, "=~\".+\" selects any value"},
    {RE, S(".+"), S("\n"), 1, "dot matches newline"},
    {NR, S(".+"), S(""), 1, "!~\".+\" selects the missing label"},
    {NR, S(".+"), S("x"), 0, "!~\".+\" refuses any value"},
    {NR, S(".*"), S(""), 0, "!~\".*\" selects nothing"},
    {RE, S("a|"), S(""), 1, "empty alternative is the missing label"},
    {RE, S("a|"), S("a"), 1, "empty alternative"},
    {RE, S("a|"), S("b"), 0, "empty alternative"},
    {RE, S("|a"), S(""), 1, "empty alternative"},
    {RE, S("a||b"), S(""), 1, "empty alternative"},
    {NR, S("a|"), S(""), 0, "empty alternative, negated"},
    {NR, S("a|"), S("b"), 1, "empty alternative, negated"},
    {RE, S("a|b|c"), S("b"), 1, "set"},
    {RE, S("a|b|c"), S("ab"), 0, "set"},
    {RE, S("c|a|b|a"), S("a"), 1, "set with a repetition"},
    {RE, S("a|ab"), S("ab"), 1, "the longer alternative"},
    {RE, S("foo"), S("xfoo"), 0, "anchored at the start"},
    {RE, S("foo"), S("foox"), 0, "anchored at the end"},
    {RE, S("foo|bar"), S("foox"), 0, "the alternation is anchored, not its ends"},
    {RE, S("foo|bar"), S("xbar"), 0, "the alternation is anchored, not its ends"},
    {RE, S("fo[o]"), S("foo\n"), 0, "$ is the end of the text only"},
    {RE, S("^foo$"), S("foo"), 1, "anchors may be written"},
    {RE, S("^foo$"), S("foo\n"), 0, "$ is the end of the text only"},
    {RE, S("^a|b$"), S("b"), 1, "anchors may be written"},
    {RE, S("^a|b$"), S("ax"), 0, "anchored all the same"},
    {RE, S("(^a|b$)"), S("b"), 1, "anchors in a group"},
    {RE, S("f.o"), S("f\no"), 1, "dot matches newline"},
    {RE, S("f.o"), S("f\0o"), 1, "dot matches NUL"},
    {RE, S("f.o"), S("f\xe2\x82\xaco"), 1, "dot matches a character, not a byte"},
    {RE, S("f..o"), S("f\xe2\x82\xaco"), 0, "dot matches a character, not a byte"},
    {RE, S("(?-s:f.o)"), S("f\no"), 0, "flags in the pattern"},
    {RE, S("foo.*"), S("foo"), 1, "prefix"},
    {RE, S("foo.*"), S("foobar\n"), 1, "prefix"},
    {RE, S("foo.*"), S("fo"), 0, "prefix"},
    {RE, S("foo.+"), S("foo"), 0, "prefix and more"},
    {RE, S("foo.+"), S("foo\xc3\xa9"), 1, "prefix and more"},
    {RE, S("foo.*?"), S("foox"), 1, "not greedy"},
    {RE, S(".*foo"), S("barfoo"), 1, "suffix"},
    {RE, S(".*foo"), S("foox"), 0, "suffix"},
    {RE, S(".+foo"), S("foo"), 0, "suffix and more"},
    {RE, S(".*foo.*"), S("xfoox"), 1, "contains"},
    {RE, S(".*foo.*"), S("foo"), 1, "contains"},
    {RE, S(".+foo.+"), S("foofoo"), 0, "contains, and more on both sides"},
    {RE, S(".+foo.+"), S("xfoofoo"), 1, "contains, and more on both sides"},
    {RE, S("a.*b.*c"), S("a-b-b-c"), 1, "several wildcards"},
    {RE, S("a.*ba.*a"), S("aba"), 0, "literals do not overlap"},
    {RE, S("a.*a"), S("a"), 0, "literals do not overlap"},
    {RE, S(".+.+"), S("\xc3\xa9"), 0, "two characters at least"},
    {RE, S(".*.+"), S("x"), 1, "one character at least"},
    {RE, S("pre(a|b|)suf"), S("presuf"), 1, "group of literals"},
    {RE, S("pre(a|b)suf"), S("preasuf"), 1, "group of literals"},
    {RE, S("pre(?:a|b)suf"), S("precsuf"), 0, "group of literals"},
    {RE, S("(a|b)(c|d)"), S("bc"), 1, "groups of literals"},
    {RE, S("a\\.b"), S("a.b"), 1, "escape"},
    {RE, S("a\\.b"), S("axb"), 0, "escape"},
    {RE, S("a\\\\b"), S("a\\b"), 1, "escape"},
    {RE, S("\\Qa.b|c\\E"), S("a.b|c"), 1, "quotation"},
    {RE, S("a\\x2eb"), S("a.b"), 1, "hexadecimal escape"},
    {RE, S("\\d+"), S("42"), 1, "Perl class"},
    {RE, S("(?i)foo|BAR"), S("bAr"), 1, "case flag"},
    {RE, S("(?i:f)oo"), S("FOO"), 0, "case flag of a group"},
    {RE, S("(?i)\xc3\xa9"), S("\xc3\x89"), 1, "case beyond ASCII"},
    {RE, S("\\p{Greek}+"), S("\xce\xb1\xce\xb2"), 1, "Unicode class"},
    {RE, S("[^a]"), S("\n"), 1, "negated class matches newline"},
    {RE, S("(?P<n>a)b"), S("ab"), 1, "named group"},
    {RE, S("(?<n>a)b"), S("ab"), 1, "named group, newer spelling"},
    {RE, S("[(?<]n>"), S("<n>"), 1, "no group inside a class"},
    {RE, S("[](?<n>]+"), S("](<n>?"), 1, "no group inside a class that starts with ]"},
    {RE, S("[[:alpha:](?<n>]+"), S("(?<n>"), 1, "no group behind a named class"},
    {RE, S("[[:digit:](?<n>]"), S("P"), 0, "no group behind a named class"},
    {RE, S("[^](?<n>]"), S("P"), 1, "no group inside a negated class that starts with ]"},
    {RE, S("[[:](?<n>x)"), S(":x"), 1, "an open named class is no named class"},
    {RE, S("[\\](?<n>]"), S("P"), 0, "no group behind an escaped bracket"},
    {RE, S("\\Q(?<n>\\E"), S("(?<n>"), 1, "no group inside a quotation"},
    {RE, S("\\(?<n>"), S("(<n>"), 1, "no group behind an escape"},
    {RE, S("a{2,3}"), S("aaa"), 1, "counted repetition"},
    {RE, S("a{,2}"), S("a{,2}"), 1, "a brace that is no repetition"},
    {RE, S("a]}"), S("a]}"), 1, "closing brackets are literals"},
    {RE, S("\xe2\x82\xac|x"), S("\xe2\x82\xac"), 1, "UTF-8"},
    {RE, S("a\0b|c"), S("a\0b"), 1, "NUL in a pattern"},
};

static pra_matcher *make(int32_t type, pra_str value)
{
    pra_matcher *matcher = NULL;
    pra_error err = {0};
    int rc = pra_matcher_new(NULL, type, S("label"), value, NULL, &matcher, &err);
    if (rc == PRA_ERR_NOT_SUPPORTED && !have_re2)
        return NULL;
    if (rc)
        fail_msg("%.*s: %s", (int)value.len, value.ptr, err.message);
    return matcher;
}

static void table_of_meanings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        pra_matcher *matcher = make(rows[i].type, rows[i].pattern);
        if (!matcher)
            continue;
        if (pra_matcher_matches(matcher, rows[i].value) != rows[i].matches)
            fail_msg("R-06, %s: %s against %s", rows[i].rule, rows[i].pattern.ptr,
                     rows[i].value.ptr);
        pra_matcher_free(matcher);
    }
}

static void missing_label_may_be_null(void **state)
{
    (void)state;
    static const struct {
        int32_t type;
        pra_str value;
        int matches;
    } cases[] = {{EQ, {NULL, 0}, 1}, {RE, {NULL, 0}, 1}, {RE, S(".*"), 1},   {RE, S(".+"), 0},
                 {RE, S("[a]*"), 1}, {RE, S("x.*y"), 0}, {NR, S("(?i)x"), 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pra_matcher *matcher = make(cases[i].type, cases[i].value);
        if (!matcher)
            continue;
        assert_int_equal(pra_matcher_matches(matcher, (pra_str){NULL, 0}), cases[i].matches);
        pra_matcher_free(matcher);
    }
}

static void accessors_give_back_what_was_given(void **state)
{
    (void)state;
    char value[] = "x.*";
    pra_matcher *matcher = make(NR, (pra_str){value, 3});
    memset(value, 0, sizeof(value));
    pra_str out;
    assert_int_equal(pra_matcher_type(matcher), NR);
    pra_matcher_name(matcher, &out);
    assert_true(pra__str_equal(out, S("label")));
    pra_matcher_value(matcher, &out);
    assert_true(pra__str_equal(out, S("x.*")));
    pra_matcher_free(matcher);
    pra_matcher_free(NULL);
}

static void sets_are_pushed_down(void **state)
{
    (void)state;
    static const struct {
        int32_t type;
        const char *pattern;
        const char *values; /* each behind a comma; NULL: not a set */
    } cases[] = {
        {EQ, "b", ",b"},
        {NE, "", ","},
        {RE, "", ","},
        {RE, "c|a|b|a", ",a,b,c"},
        {NR, "b|a", ",a,b"},
        {RE, "a|", ",,a"},
        {RE, "^a|b$", ",a,b"},
        {RE, "x(a|b|)y", ",xay,xby,xy"},
        {RE, "(a|b)(c|d)", ",ac,ad,bc,bd"},
        {RE, "((a|b)c|d)e", ",ace,bce,de"},
        {RE, "a\\.b|c\\|d", ",a.b,c|d"},
        {RE, "()()", ","},
        {RE, "a.*", NULL},
        {RE, "[ab]", NULL},
        {RE, "(?i)a", NULL},
        {RE, "(|)(|)(|)(|)(|)(|)(|)(|)(|)(|)(|)(|)(|)(|)(|)(|)(|)(|)(|)(|)", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pra_str pattern = {cases[i].pattern, strlen(cases[i].pattern)};
        pra_matcher *matcher = make(cases[i].type, pattern);
        if (!matcher)
            continue;
        const pra_str *set;
        char joined[200] = "";
        size_t count = pra_matcher_set(matcher, &set), at = 0;
        for (size_t v = 0; v < count; v++)
            at += (size_t)sprintf(joined + at, ",%.*s", (int)set[v].len, set[v].ptr);
        assert_string_equal(joined, cases[i].values ? cases[i].values : "");
        pra_matcher_free(matcher);
    }
}

static void prefixes_are_pushed_down(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"abc.*", "abc"},
        {"abc", "abc"},
        {"abc|abd", "ab"},
        {"a(b|c)", "a"},
        {"a|b", ""},
        {"a|", ""},
        {".*abc", ""},
        {"abc.+d[x]", "abc"},
        {"abc[0-9]+", "abc"},
        {"(?i)abc", ""},
        {"abx?", "ab"},
        {"abc|(x|y)z*", ""},
        {"\xc3\xa9|\xc3\xa8", ""},
        {"x\xc3\xa9[0-9]", "x\xc3\xa9"},
        {"x[\xc3\xa9\xc3\xa8]", "x"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pra_str pattern = {cases[i][0], strlen(cases[i][0])}, prefix = {"", 0};
        pra_matcher *matcher = make(RE, pattern);
        if (!matcher)
            continue;
        int known = pra_matcher_prefix(matcher, &prefix);
        assert_int_equal(known, prefix.len > 0);
        if (!pra__str_equal(prefix, (pra_str){cases[i][1], strlen(cases[i][1])}))
            fail_msg("%s: prefix %.*s", cases[i][0], (int)prefix.len, prefix.ptr);
        pra_matcher_free(matcher);
    }
}

static void what_needs_re2_is_refused_without(void **state)
{
    (void)state;
    static const char *const without[] = {"", "a|b|", "x(a|b)y", ".*", ".+", "^a.*b$", "a\\.b"};
    for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
        pra_matcher *matcher = make(RE, (pra_str){without[i], strlen(without[i])});
        assert_non_null(matcher);
        pra_matcher_free(matcher);
    }
    pra_matcher *matcher = make(RE, S("[ab]"));
    assert_int_equal(matcher != NULL, have_re2);
    pra_matcher_free(matcher);
}

static void expect_refused(pra_str pattern, const pra_limits *limits, int code)
{
    pra_matcher *matcher = (pra_matcher *)1;
    pra_error err = {0};
    int rc = pra_matcher_new(NULL, RE, S("label"), pattern, limits, &matcher, &err);
    if (rc != code)
        fail_msg("%.*s: %d, not %d", (int)(pattern.len < 60 ? pattern.len : 60), pattern.ptr, rc,
                 code);
    assert_ptr_equal(matcher, (pra_matcher *)1);
    assert_int_equal(err.code, code);
    assert_int_equal(err.http_status, 400);
    assert_true(strlen(err.message) > 10);
    assert_null(strchr(err.message, '\n'));
}

static void limit_of_length_is_of_patterns_only(void **state)
{
    (void)state;
    pra_limits limits = {.size = sizeof(limits), .max_pattern_bytes = 3};
    pra_matcher *matcher;
    assert_int_equal(pra_matcher_new(NULL, EQ, S("n"), S("abcd"), &limits, &matcher, NULL), 0);
    pra_matcher_free(matcher);
    assert_int_equal(pra_matcher_new(NULL, RE, S("n"), S("abc"), &limits, &matcher, NULL), 0);
    pra_matcher_free(matcher);
    expect_refused(S("abcd"), &limits, PRA_ERR_PATTERN_TOO_LONG);
    limits.size = 1;
    assert_int_equal(pra_matcher_new(NULL, RE, S("n"), S("a"), &limits, &matcher, NULL),
                     PRA_ERR_INVALID_ARG);
}

static void large_sets_are_searched(void **state)
{
    (void)state;
    char pattern[12000], value[8];
    size_t len = 0;
    for (unsigned i = 0; i < 2000; i++)
        len += (size_t)sprintf(pattern + len, "%s%u", i ? "|" : "", i * 7919 % 2000 * 2);
    pra_matcher *matcher = make(RE, (pra_str){pattern, len});
    const pra_str *set;
    assert_int_equal(pra_matcher_set(matcher, &set), 2000);
    for (size_t i = 1; i < 2000; i++)
        assert_true(pra__str_compare(set[i - 1], set[i]) < 0);
    for (unsigned i = 0; i < 4000; i++) {
        pra_str s = {value, (size_t)sprintf(value, "%u", i)};
        assert_int_equal(pra_matcher_matches(matcher, s), i % 2 == 0);
    }
    pra_matcher_free(matcher);
}

/* ---- random patterns */

static uint64_t random_state = 88172645463325252;

static size_t below(size_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state >> 11) % n;
}

static pra_str random_text(char *dst, const char *const *parts, size_t part_count, size_t most)
{
    size_t n = below(most + 1), len = 0;
    for (size_t i = 0; i < n; i++) {
        const char *part = parts[below(part_count)];
        memcpy(dst + len, part, strlen(part));
        len += strlen(part);
    }
    return (pra_str){dst, len};
}

/* Whatever the matcher says of its values must follow from what it accepts. */
static void random_push_down_is_sound(void **state)
{
    (void)state;
    static const char *const parts[] = {"a",    "b",  "\xc3\xa9", "|", "(a|b)",
                                        "[ab]", ".*", "c?",       "^"};
    static const char *const value_parts[] = {"a", "b", "\xc3\xa9", "\xc3\xa8", "c"};
    char pattern_text[100], value_text[64];
    for (size_t round = 0; round < 10000; round++) {
        pra_str pattern = random_text(pattern_text, parts, sizeof(parts) / sizeof(*parts), 6);
        pra_matcher *matcher;
        if (pra_matcher_new(NULL, RE, S("n"), pattern, NULL, &matcher, NULL))
            continue;
        pra_str value = random_text(value_text, value_parts, 5, 4), prefix;
        const pra_str *set;
        size_t count = pra_matcher_set(matcher, &set);
        int matches = pra_matcher_matches(matcher, value), in_set = 0;
        for (size_t i = 0; i < count; i++)
            in_set |= pra__str_equal(set[i], value);
        if (count)
            assert_int_equal(matches, in_set);
        if (matches && pra_matcher_prefix(matcher, &prefix)) {
            assert_true(pra__utf8_valid(prefix));
            assert_true(pra__str_starts_with(value, prefix));
        }
        pra_matcher_free(matcher);
    }
}

#ifdef PRA_HAVE_RE2

/* n times s, to be freed. */
static pra_str repeat(const char *s, size_t n)
{
    size_t len = strlen(s);
    char *text = malloc(len * n + 1);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        memcpy(text + i * len, s, len);
    return (pra_str){text, len * n};
}

static void bad_patterns_are_refused(void **state)
{
    (void)state;
    static const pra_str patterns[] = {
        S("("),          S(")"),         S("a)(b"),    S("["),       S("a**"),
        S("*"),          S("a|*"),       S(".**"),     S("x{1001}"), S("(a{1000}){1000}"),
        S("\\"),         S("(?=a)"),     S("(?<=a)b"), S("(?<!a)b"), S("(a)\\1"),
        S("\\C"),        S("(?<1-2>a)"),

        S("[b-a]"),      S("\\pX"),      S("\xff"),    S("a\xc3"),   S("\xed\xa0\x80"),
        S("a|\xc0\x80"), S("a\nb("),     S("\\Z"),     S("a++"),     S("(?z)a"),
    };
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
        expect_refused(patterns[i], NULL, PRA_ERR_MATCHER);
    pra_matcher *matcher;
    for (int32_t type = -1; type <= 4; type += 5)
        assert_int_equal(pra_matcher_new(NULL, type, S("n"), S("v"), NULL, &matcher, NULL),
                         PRA_ERR_MATCHER);
}

static void costly_patterns_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *part;
        size_t count;
    } cases[] = {{"\\pL{1000}", 1}, {"\\pL", 20000},     {"a{1000}", 9000}, {"a{0,1000}", 6000},
                 {"\\PN", 600},     {"[\\pL\\pN]", 300}, {".{1000}", 200}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pra_str pattern = repeat(cases[i].part, cases[i].count);
        expect_refused(pattern, NULL, PRA_ERR_PATTERN_TOO_COSTLY);
        free((char *)pattern.ptr);
    }
    pra_limits limits = {.size = sizeof(limits), .max_pattern_memory = 4096};
    expect_refused(S("a|b|[c-e]{400}"), &limits, PRA_ERR_PATTERN_TOO_COSTLY);
    pra_str many = repeat("ab", 2100);
    expect_refused(many, &limits, PRA_ERR_PATTERN_TOO_COSTLY);
    limits.max_pattern_memory = 1;
    expect_refused(S("[c-e]"), &limits, PRA_ERR_PATTERN_TOO_COSTLY);
    limits = (pra_limits){.size = sizeof(limits), .max_pattern_bytes = many.len - 1};
    expect_refused(many, &limits, PRA_ERR_PATTERN_TOO_LONG);
    free((char *)many.ptr);
}

/* Patterns that take a backtracking engine more steps than there are atoms in the universe. */
static void matching_takes_linear_time(void **state)
{
    (void)state;
    static const char *const patterns[] = {"(a+)+$",        "(a|a)*b",          "(a*)*b",
                                           "(.*)(.*)(.*)x", "(x+x+)+y|(a|aa)+", ".*a.*a.*a.*a.*b"};
    pra_str text = repeat("aaaaaaaaaa", 10000);
    ((char *)text.ptr)[text.len - 1] = '!';
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        pra_matcher *matcher = make(RE, (pra_str){patterns[i], strlen(patterns[i])});
        assert_int_equal(pra_matcher_matches(matcher, text), 0);
        pra_matcher_free(matcher);
    }
    free((char *)text.ptr);
}

/* A pattern that is read without RE2 must have a meaning for RE2, and the same one. */
static void compare_with_re2(pra_str pattern, const pra_str *values, size_t count, size_t *read)
{
    struct pra__pattern simple;
    struct pra__regex *regex = NULL;
    pra_arena *arena;
    uint64_t effort = UINT64_MAX;
    pra_error err = {0};
    assert_int_equal(pra_arena_new(NULL, 200 * pattern.len + 65536, &arena), PRA_OK);
    int rc = pra__pattern_parse(pattern, arena, &simple);
    if (rc == PRA_OK) {
        ++*read;
        if (pra__regex_new(pattern, 8 << 20, &effort, &regex, &err))
            fail_msg("RE2 refuses %.*s: %s", (int)pattern.len, pattern.ptr, err.message);
        for (size_t i = 0; i < count; i++)
            if (pra__pattern_matches(&simple, values[i]) != pra__regex_matches(regex, values[i]))
                fail_msg("not what RE2 says: %.*s against %.*s", (int)pattern.len, pattern.ptr,
                         (int)values[i].len, values[i].ptr);
    } else {
        assert_int_equal(rc, PRA_DONE);
    }
    pra__regex_free(regex);
    pra_arena_free(arena);
}

static void random_patterns_agree_with_re2(void **state)
{
    (void)state;
    static const char *const pattern_parts[] = {
        "a",   "a",     "b",    "ab", "\xc3\xa9", "|", "|",   "(",   "(?:", ")", ")",   ".*", ".*",
        ".+",  ".",     "*",    "+",  "?",        "^", "$",   "\\.", "\\",  "[", "]",   "{",  "}",
        "{1}", "(a|b)", "(|b)", "\n", "(?i)",     "_", "\\|", "\\_", "\\n", "-", "\\-", " ",  "0"};
    static const char *const value_parts[] = {"a",  "a", "b", "ab", "\xc3\xa9", "\n", ".",
                                              "\\", "|", "(", "_",  "n",        "-",  "0"};
    char pattern_text[200], value_text[20][64];
    pra_str values[20];
    size_t read = 0;
    for (size_t round = 0; round < 40000; round++) {
        pra_str pattern = random_text(pattern_text, pattern_parts,
                                      sizeof(pattern_parts) / sizeof(*pattern_parts), 9);
        if (round % 20 == 0)
            for (size_t i = 0; i < 20; i++)
                values[i] = random_text(value_text[i], value_parts,
                                        sizeof(value_parts) / sizeof(*value_parts), 6);
        compare_with_re2(pattern, values, 20, &read);
    }
    assert_in_range(read, 4000, 40000);
}

/* ---- memory */

static int make_with(struct failing_alloc *f, void *arg)
{
    pra_matcher *matcher = NULL;
    pra_error err = {0};
    int rc = pra_matcher_new(&f->alloc, RE, S("label"), *(pra_str *)arg, NULL, &matcher, &err);
    assert_int_equal(err.code, rc);
    pra_matcher_free(matcher);
    return rc;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    pra_str patterns[] = {S(""),       S("a"), S("a|b|c|d|e|f|g"), S("a(b|c)(d|e)"), S("a.*b.+c"),
                          S("[a-z]+"), S("(")};
    for (size_t i = 0; i + 1 < sizeof(patterns) / sizeof(patterns[0]); i++) {
        const char *wrong = failing_alloc_loop(make_with, &patterns[i]);
        if (wrong)
            fail_msg("%s: %s", patterns[i].ptr, wrong);
    }
    struct failing_alloc counts;
    failing_alloc_init(&counts);
    assert_int_equal(make_with(&counts, &patterns[6]), PRA_ERR_MATCHER);
    assert_int_equal(counts.live, 0);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_of_meanings),
        cmocka_unit_test(missing_label_may_be_null),
        cmocka_unit_test(accessors_give_back_what_was_given),
        cmocka_unit_test(sets_are_pushed_down),
        cmocka_unit_test(prefixes_are_pushed_down),
        cmocka_unit_test(limit_of_length_is_of_patterns_only),
        cmocka_unit_test(large_sets_are_searched),
        cmocka_unit_test(random_push_down_is_sound),
        cmocka_unit_test(what_needs_re2_is_refused_without),
#ifdef PRA_HAVE_RE2
        cmocka_unit_test(bad_patterns_are_refused),
        cmocka_unit_test(costly_patterns_are_refused),
        cmocka_unit_test(matching_takes_linear_time),
        cmocka_unit_test(random_patterns_agree_with_re2),
        cmocka_unit_test(every_allocation_may_fail),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
