/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines on stderr: logfmt, or the same as JSON. */
#include "cli.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/log.h"

static const char *const level_names[] = {"debug", "info", "warn", "error"};

int cli_log_init(cli_log *log, const char *level, const char *format)
{
    log->level = 0;
    while (log->level < 4 && strcmp(level, level_names[log->level]))
        log->level++;
    log->json = strcmp(format, "json") == 0;
    return log->level < 4 && (log->json || strcmp(format, "logfmt") == 0);
}

static void print_time(char *out, size_t cap)
{
    struct timespec now;
    struct tm utc;
    char seconds[32];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(out, cap, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
}

static int is_json_number(const char *text, size_t len)
{
    size_t digits = strspn(text, "0123456789");
    return len > 0 && digits == len && len < 16 && (text[0] != '0' || len == 1);
}

/* Length of the value at text: a quoted string, or up to the next space. */
static size_t value_length(const char *text)
{
    if (*text != '"')
        return strcspn(text, " ");
    size_t len = 1;
    while (text[len] && text[len] != '"')
        len += text[len] == '\\' && text[len + 1] ? 2 : 1;
    return text[len] ? len + 1 : len;
}

/* Turns "a=1 b=\"x y\"" into ",\"a\":1,\"b\":\"x y\"". Values are quoted as JSON already. */
static void print_json(char *out, size_t cap, const char *fields)
{
    size_t at = 0;
    while (*fields && at + 8 < cap) {
        size_t key = strcspn(fields, "= ");
        const char *value = fields[key] == '=' ? fields + key + 1 : fields + key;
        size_t len = value_length(value);
        const char *quote = *value == '"' || is_json_number(value, len) ? "" : "\"";
        int n = snprintf(out + at, cap - at, ",\"%.*s\":%s%.*s%s", (int)key, fields, quote,
                         (int)len, value, quote);
        if (n < 0 || (size_t)n >= cap - at)
            break;
        at += (size_t)n;
        fields = value + len;
        fields += strspn(fields, " ");
    }
    out[at] = 0;
}

void cli_log_fields(void *ctx, int32_t level, const char *fields_cstr)
{
    const cli_log *log = ctx;
    char now[48];
    if (level < log->level || level > PRA_LOG_ERROR)
        return;
    print_time(now, sizeof(now));
    if (log->json) {
        char fields[2048];
        print_json(fields, sizeof(fields), fields_cstr);
        (void)fprintf(stderr, "{\"time\":\"%s\",\"level\":\"%s\"%s}\n", now, level_names[level],
                      fields);
    } else {
        (void)fprintf(stderr, "time=%s level=%s %s\n", now, level_names[level], fields_cstr);
    }
}

pra_log cli_log_sink(cli_log *log)
{
    return (pra_log){log, cli_log_fields};
}

void cli_log_message(void *ctx, int32_t level, const char *message_cstr)
{
    pra_log sink = cli_log_sink(ctx);
    pra__log_write(&sink, level, message_cstr, NULL);
}
