/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { LINE_MAX_BYTES = 1024, LIMITED_LINES_PER_SECOND = 10 };

static int is_bare(const char *src, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)src[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7F)
            return 0;
    }
    return len > 0;
}

/* Writes the escaped form of c; returns its length, at most 6. */
static size_t escape(char *out, unsigned char c)
{
    if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = (char)c;
        return 2;
    }
    if (c < 0x20 || c == 0x7F)
        return (size_t)snprintf(out, 7, c == '\n' ? "\\n" : "\\u%04x", c);
    out[0] = (char)c;
    return 1;
}

size_t pra__log_value(char *dst, size_t cap, size_t at, const char *src, size_t len)
{
    if (cap == 0 || at + 3 > cap)
        return at;
    if (is_bare(src, len) && at + len < cap) {
        memcpy(dst + at, src, len);
        dst[at + len] = 0;
        return at + len;
    }
    dst[at++] = '"';
    for (size_t i = 0; i < len; i++) {
        char piece[8];
        size_t n = escape(piece, (unsigned char)src[i]);
        if (at + n + 2 > cap)
            break;
        memcpy(dst + at, piece, n);
        at += n;
    }
    dst[at++] = '"';
    dst[at] = 0;
    return at;
}

void pra__log_write(const pra_log *sink, int32_t level, const char *msg, const char *fmt, ...)
{
    if (!sink->fn)
        return;
    char line[LINE_MAX_BYTES] = "msg=";
    size_t len = pra__log_value(line, sizeof(line), 4, msg, strlen(msg));
    if (fmt && len + 2 < sizeof(line)) {
        line[len++] = ' ';
        va_list args;
        va_start(args, fmt);
        (void)vsnprintf(line + len, sizeof(line) - len, fmt, args);
        va_end(args);
    }
    sink->fn(sink->ctx, level, line);
}

int pra__log_allowed(pra__log *log, uint64_t *dropped)
{
    uint64_t now = (uint64_t)time(NULL);
    if (atomic_exchange(&log->second, now) != now)
        atomic_store(&log->lines, 0);
    if (atomic_fetch_add(&log->lines, 1) >= LIMITED_LINES_PER_SECOND) {
        atomic_fetch_add(&log->dropped, 1);
        return 0;
    }
    *dropped = atomic_exchange(&log->dropped, 0);
    return 1;
}
