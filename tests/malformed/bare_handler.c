/* SPDX-License-Identifier: Apache-2.0 */
/* A handler without a server, for the tables: requests come on stdin, answers go to stdout with
 * what they cost. The storage takes everything and has nothing.
 *
 * request: path, content type, other header lines ("Name: value", each ended by 0x1F), length of
 *          the body, each ended by a line feed, then the body
 * answer:  "status body_length header_length peak_bytes cpu_microseconds\n", headers, body */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pra.h"
#include "support/failing_alloc.h"

enum { LINE = 4096, HEADERS = 16 };

static int take(void *self, const pra_context *ctx, const pra_write_request *request,
                pra_write_result *result, pra_error *err)
{
    (void)self, (void)ctx, (void)request, (void)result, (void)err;
    return PRA_OK;
}

static int find_nothing(void *self, const pra_context *ctx, const pra_query *query,
                        pra_series_sink *sink, pra_error *err)
{
    (void)self, (void)ctx, (void)query, (void)sink, (void)err;
    return PRA_OK;
}

static void require(int condition, const char *what)
{
    if (!condition) {
        (void)fprintf(stderr, "bare_handler: %s\n", what);
        abort();
    }
}

static int read_line(char *line)
{
    if (!fgets(line, LINE, stdin))
        return 0;
    require(strchr(line, '\n') != NULL, "a line is too long");
    line[strlen(line) - 1] = 0;
    return 1;
}

static pra_str str(const char *s)
{
    return (pra_str){s, strlen(s)};
}

static size_t split_headers(char *lines, pra_header *headers)
{
    size_t n = 0;
    for (char *line = strtok(lines, "\x1f"); line; line = strtok(NULL, "\x1f")) {
        char *colon = strstr(line, ": ");
        require(colon && n < HEADERS, "headers");
        *colon = 0;
        headers[n++] = (pra_header){str(line), str(colon + 2)};
    }
    return n;
}

static int64_t cpu_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void answer(pra_exchange *x, const struct failing_alloc *alloc, int64_t cpu)
{
    const pra_header *headers;
    const void *piece;
    char *body = NULL, *head = NULL;
    size_t len, body_len = 0, head_len = 0;
    FILE *head_file = open_memstream(&head, &head_len);
    FILE *body_file = open_memstream(&body, &body_len);
    size_t n = pra_exchange_headers(x, &headers);
    for (size_t i = 0; i < n; i++)
        (void)fprintf(head_file, "%.*s: %.*s\n", (int)headers[i].name.len, headers[i].name.ptr,
                      (int)headers[i].value.len, headers[i].value.ptr);
    int rc;
    while ((rc = pra_exchange_body(x, &piece, &len)) == PRA_OK)
        require(fwrite(piece, 1, len, body_file) == len, "memory");
    require(rc == PRA_DONE, "the body broke off");
    (void)fclose(head_file);
    (void)fclose(body_file);
    (void)printf("%d %zu %zu %zu %lld\n", pra_exchange_status(x), body_len, head_len, alloc->peak,
                 (long long)cpu);
    (void)fwrite(head, 1, head_len, stdout);
    (void)fwrite(body, 1, body_len, stdout);
    (void)fflush(stdout);
    free(head);
    free(body);
}

static void serve(pra_exchange *x, struct failing_alloc *alloc, const pra_request_head *head,
                  size_t len)
{
    char *body = malloc(len + 1);
    require(body && fread(body, 1, len, stdin) == len, "body");
    alloc->peak = alloc->live;
    int64_t cpu = cpu_us();
    int rc = pra_exchange_begin(x, head);
    if (rc == PRA_OK)
        rc = pra_exchange_feed(x, body, len);
    if (rc == PRA_OK)
        rc = pra_exchange_end(x);
    if (rc == PRA_OK)
        rc = pra_exchange_run(x);
    require(rc == PRA_OK || rc == PRA_DONE, "exchange");
    answer(x, alloc, cpu_us() - cpu);
    free(body);
}

int main(void)
{
    static const pra_storage_vtbl vtbl = {.size = sizeof(vtbl),
                                          .flags = PRA_STORAGE_HISTOGRAMS | PRA_STORAGE_EXEMPLARS,
                                          .write = take,
                                          .process_query = find_nothing};
    static char path[LINE], type[LINE], more[LINE], length[LINE];
    struct failing_alloc alloc;
    pra_handler *handler;
    pra_exchange *x;
    pra_storage storage = {&vtbl, NULL};
    failing_alloc_init(&alloc);
    require(!pra_handler_new(&alloc.alloc, &storage, NULL, &handler, NULL), "handler");
    require(!pra_exchange_new(handler, NULL, &x), "exchange");
    while (read_line(path) && read_line(type) && read_line(more) && read_line(length)) {
        pra_header headers[HEADERS + 1] = {{str("Content-Type"), str(type)}};
        pra_request_head head = {.size = sizeof(head),
                                 .method = str("POST"),
                                 .target = str(path),
                                 .headers = headers,
                                 .header_count = 1 + split_headers(more, headers + 1)};
        serve(x, &alloc, &head, strtoul(length, NULL, 10));
    }
    pra_exchange_free(x);
    pra_handler_free(handler);
    require(alloc.live == 0, "memory was not given back");
    return 0;
}
