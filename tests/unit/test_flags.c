/* SPDX-License-Identifier: Apache-2.0 */
/* Flags and log lines of the program pra. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "server/log.h"

/* ---- values */

static void durations_are_those_of_prometheus(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {
        {"0", 0},           {"500ms", 500},      {"15s", 15000},    {"5m", 300000},
        {"2h", 7200000},    {"30d", 2592000000}, {"1w", 604800000}, {"1y", 31536000000},
        {"1h30m", 5400000}, {"1m500ms", 60500},
    };
    static const char *const bad[] = {
        "", "5", "s", "-5s", "5 s", "5sec", "1.5h", "1h5", "99999999999y", "18446744073709551616s"};
    uint64_t value;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(cli_parse_duration(good[i].text, &value));
        assert_true(value == good[i].ms);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (cli_parse_duration(bad[i], &value))
            fail_msg("taken as a duration: %s", bad[i]);
}

static void sizes_have_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},          {"77", 77},       {"512B", 512},
                {"64KiB", 65536},  {"64KB", 65536},  {"32MiB", 33554432},
                {"1GiB", 1 << 30}, {"1GB", 1 << 30}, {"2TiB", UINT64_C(2) << 40}};
    static const char *const bad[] = {"",   "MiB",    "32 MiB", "32mib",
                                      "-1", "1.5GiB", "32MiBx", "18446744073709551615TiB"};
    uint64_t value;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(cli_parse_size(good[i].text, &value));
        assert_true(value == good[i].bytes);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (cli_parse_size(bad[i], &value))
            fail_msg("taken as a size: %s", bad[i]);
}

static void numbers_may_have_an_exponent(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t number;
    } good[] = {{"0", 0},
                {"7", 7},
                {"5e7", 50000000},
                {"0e9", 0},
                {"12e0", 12},
                {"18446744073709551615", UINT64_MAX},
                {"0e99999999999999999", 0}};
    static const char *const bad[] = {"",
                                      "e7",
                                      "5e",
                                      "5e-1",
                                      "5E7",
                                      "5.5e7",
                                      "5e7 ",
                                      "2e19",
                                      "1e18446744073709551615",
                                      "18446744073709551616"};
    uint64_t value;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(cli_parse_number(good[i].text, &value));
        assert_true(value == good[i].number);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (cli_parse_number(bad[i], &value))
            fail_msg("taken as a number: %s", bad[i]);
}

/* ---- command lines */

struct values {
    const char *text;
    cli_list list;
    int on;
    uint64_t number, size, duration;
};

/* Parses words (NULL-terminated) into v; what was printed goes to out. */
static int parse_into(struct values *v, char **words, cli_list *operands, char *out, size_t cap)
{
    const cli_flag flags[] = {
        {"A section", CLI_TEXT, NULL, NULL, NULL},
        {"some.text", CLI_TEXT, &v->text, "preset", "A text."},
        {"some.list", CLI_LIST, &v->list, "one", "A list."},
        {"some.switch", CLI_SWITCH, &v->on, NULL, "A switch."},
        {"some.number", CLI_NUMBER, &v->number, "7", "A number."},
        {"limit.size", CLI_SIZE, &v->size, "32MiB",
         "A size whose description is so long that it has to be wrapped into more than one line of "
         "the table of flags."},
        {"idle-timeout", CLI_DURATION, &v->duration, "6m", "A duration."},
    };
    const cli_usage usage = {"pra test [FLAGS]", "Tests.", flags, sizeof(flags) / sizeof(flags[0]),
                             operands ? 2 : 0};
    int argc = 0;
    while (words[argc])
        argc++;
    FILE *file = tmpfile();
    assert_non_null(file);
    int saved[3] = {0, dup(1), dup(2)};
    (void)fflush(stdout);
    (void)fflush(stderr);
    (void)dup2(fileno(file), 1);
    (void)dup2(fileno(file), 2);
    int rc = cli_parse(&usage, argc, words, operands);
    (void)fflush(stdout);
    (void)fflush(stderr);
    for (int fd = 1; fd <= 2; fd++) {
        (void)dup2(saved[fd], fd);
        (void)close(saved[fd]);
    }
    rewind(file);
    out[fread(out, 1, cap - 1, file)] = 0;
    (void)fclose(file);
    return rc;
}

#define PARSE(v, out, ...)                                                                         \
    parse_into(v, (char *[]){__VA_ARGS__ __VA_OPT__(, ) NULL}, NULL, out, sizeof(out))

static void presets_hold_where_nothing_is_given(void **state)
{
    (void)state;
    struct values v = {0};
    char out[4096];
    assert_int_equal(PARSE(&v, out), CLI_RUN);
    assert_string_equal(v.text, "preset");
    assert_int_equal(v.list.count, 1);
    assert_string_equal(v.list.items[0], "one");
    assert_int_equal(v.on, 0);
    assert_int_equal(v.number, 7);
    assert_int_equal(v.size, 32 << 20);
    assert_int_equal(v.duration, 360000);
    assert_string_equal(out, "");
}

static void both_spellings_work(void **state)
{
    (void)state;
    struct values v = {0};
    char out[4096];
    assert_int_equal(PARSE(&v, out, "--some.text=", "--some.number", "9", "--limit.size=1KiB",
                           "--idle-timeout", "15s", "--some.list=a", "--some.list", "b",
                           "--some.switch"),
                     CLI_RUN);
    assert_string_equal(v.text, "");
    assert_int_equal(v.number, 9);
    assert_int_equal(v.size, 1024);
    assert_int_equal(v.duration, 15000);
    assert_int_equal(v.list.count, 2);
    assert_string_equal(v.list.items[1], "b");
    assert_int_equal(v.on, 1);
    assert_int_equal(PARSE(&v, out, "--some.switch", "--no-some.switch"), CLI_RUN);
    assert_int_equal(v.on, 0);
    assert_int_equal(PARSE(&v, out, "--some.text", "--some.list=x"), CLI_RUN);
    assert_string_equal(v.text, "--some.list=x"); /* a value may look like a flag */
}

static void errors_name_the_remedy(void **state)
{
    (void)state;
    static const struct {
        const char *word, *says;
    } bad[] = {
        {"--some.txt=1", "did you mean --some.text?"},
        {"--idle-timout=1s", "did you mean --idle-timeout?"},
        {"--number=1", "did you mean --some.number?"},
        {"--whatever-else", "unknown flag --whatever-else"},
        {"--some.number=x", "--some.number needs a number"},
        {"--some.number=-1", "--some.number needs a number"},
        {"--limit.size=32mb", "--limit.size needs a size such as"},
        {"--idle-timeout=5", "--idle-timeout needs a duration such as"},
        {"--idle-timeout", "--idle-timeout needs a duration such as"},
        {"--some.switch=maybe", "--some.switch is true or false"},
        {"--no-some.text", "unknown flag --no-some.text"},
        {"-x", "flags begin with two dashes"},
        {"word", "unexpected word \"word\""},
        {"--", NULL},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct values v = {0};
        char out[4096];
        int rc = PARSE(&v, out, (char *)bad[i].word);
        assert_int_equal(rc, bad[i].says ? CLI_WRONG : CLI_RUN);
        if (bad[i].says && (!strstr(out, bad[i].says) || !strstr(out, "Run `pra test --help`")))
            fail_msg("%s gives: %s", bad[i].word, out);
    }
}

static void operands_are_taken_and_counted(void **state)
{
    (void)state;
    struct values v = {0};
    cli_list operands = {.count = 0};
    char out[4096];
    char *two[] = {"a", "--some.number=1", "-", NULL};
    assert_int_equal(parse_into(&v, two, &operands, out, sizeof(out)), CLI_RUN);
    assert_int_equal(operands.count, 2);
    assert_string_equal(operands.items[0], "a");
    assert_string_equal(operands.items[1], "-");
    char *three[] = {"a", "b", "c", NULL};
    assert_int_equal(parse_into(&v, three, &operands, out, sizeof(out)), CLI_WRONG);
    char *dashes[] = {"--", "--some.number=1", NULL};
    assert_int_equal(parse_into(&v, dashes, &operands, out, sizeof(out)), CLI_RUN);
    assert_string_equal(operands.items[0], "--some.number=1");
}

static void help_is_a_table(void **state)
{
    (void)state;
    struct values v = {0};
    char out[8192];
    assert_int_equal(PARSE(&v, out, "--no-such", "--help"), CLI_WRONG);
    assert_int_equal(PARSE(&v, out, "--help"), CLI_HELP);
    assert_non_null(strstr(out, "usage: pra test [FLAGS]"));
    assert_non_null(strstr(out, "\nA section\n"));
    assert_non_null(strstr(out, "  --[no-]some.switch "));
    size_t column = 0;
    for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n")) {
        assert_true(strlen(line) <= 104); /* "…" is three bytes */
        if (strncmp(line, "  --some.text=preset", 20) == 0)
            column = (size_t)(strstr(line, "A text.") - line);
        if (strncmp(line, "  --idle-timeout=6m", 19) == 0)
            assert_int_equal(strstr(line, "A duration.") - line, column);
    }
    assert_true(column > 0);
}

/* ---- log lines */

static void log_values_are_quoted_where_needed(void **state)
{
    (void)state;
    static const struct {
        const char *text, *written;
    } rows[] = {{"plain", "plain"},
                {"", "\"\""},
                {"two words", "\"two words\""},
                {"a=b", "\"a=b\""},
                {"say \"hi\"", "\"say \\\"hi\\\"\""},
                {"back\\slash", "\"back\\\\slash\""},
                {"line\nline", "\"line\\nline\""},
                {"\x01", "\"\\u0001\""},
                {"caf\xc3\xa9", "\"caf\xc3\xa9\""},
                {"bad \xff\xc3", "\"bad \\ufffd\\ufffd\""},
                {"\xe2\x82", "\"\\ufffd\\ufffd\""}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char out[64];
        size_t len = pra__log_value(out, sizeof(out), 0, rows[i].text, strlen(rows[i].text));
        assert_string_equal(out, rows[i].written);
        assert_int_equal(len, strlen(out));
    }
}

static void log_values_are_cut_to_fit(void **state)
{
    (void)state;
    for (size_t cap = 1; cap < 24; cap++) {
        char out[32];
        memset(out, 'x', sizeof(out));
        out[0] = 0;
        size_t len = pra__log_value(out, cap, 0, "a long \"text\"", 13);
        assert_true(len < cap);
        assert_int_equal(strlen(out), len);
        assert_int_equal(out[cap], 'x');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_those_of_prometheus),
        cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(numbers_may_have_an_exponent),
        cmocka_unit_test(presets_hold_where_nothing_is_given),
        cmocka_unit_test(both_spellings_work),
        cmocka_unit_test(errors_name_the_remedy),
        cmocka_unit_test(operands_are_taken_and_counted),
        cmocka_unit_test(help_is_a_table),
        cmocka_unit_test(log_values_are_quoted_where_needed),
        cmocka_unit_test(log_values_are_cut_to_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
