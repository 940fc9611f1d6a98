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

/* Length of the well-formed UTF-8 character at src, 0 if there is none. Surrogates and overlong
 * forms of three and four bytes pass: a log line only has to be readable. */
static size_t character(const char *src, size_t len)
{
    unsigned char lead = (unsigned char)src[0];
    size_t want = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (want > len || lead > 0xF4)
        return 0;
    for (size_t i = 1; i < want; i++)
        if (((unsigned char)src[i] & 0xC0) != 0x80)
            return 0;
    return want;
}

/* Writes the character at src as JSON wants it, at most 6 bytes. Returns the bytes it was made
 * from; *written = their number. */
static size_t escape(char *out, const char *src, size_t len, size_t *written)
{
    size_t size = character(src, len);
    unsigned char c = (unsigned char)src[0];
    if (size == 0)
        *written = (size_t)snprintf(out, 7, "\\ufffd");
    else if (c == '"' || c == '\\')
        *written = (size_t)snprintf(out, 7, "\\%c", c);
    else if (c == '\n')
        *written = (size_t)snprintf(out, 7, "\\n");
    else if (c < 0x20 || c == 0x7F)
        *written = (size_t)snprintf(out, 7, "\\u%04x", c);
    else
        memcpy(out, src, *written = size);
    return size ? size : 1;
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
    for (size_t i = 0, n; i < len;) {
        char piece[8];
        i += escape(piece, src + i, len - i, &n);
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
