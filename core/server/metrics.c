/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const double bucket_bounds[PRA__BUCKETS - 1] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                       0.1,   0.25,   0.5,   1,    5};
static const char *const endpoint_names[PRA__ENDPOINTS] = {"", "write", "read"};

int pra__print(pra_buffer *out, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    return pra_buffer_append(out, text, len);
}

/* ---- counting */

static void count_outcome(pra__metrics *m, const pra_exchange_stats *stats)
{
    size_t i = 0;
    while (i < PRA__OUTCOMES - 1 && m->requests[i].count &&
           (m->requests[i].endpoint != stats->endpoint ||
            m->requests[i].version != stats->version || m->requests[i].code != stats->status))
        i++;
    if (m->requests[i].count++)
        return;
    m->requests[i].endpoint = stats->endpoint;
    m->requests[i].version = stats->version;
    m->requests[i].code = stats->status;
}

static void count_refusal(pra__metrics *m, const char *reason)
{
    size_t i = 0;
    while (i < PRA__OUTCOMES - 1 && m->refused[i].count && strcmp(m->refused[i].reason, reason))
        i++;
    if (m->refused[i].count++ == 0)
        m->refused[i].reason = reason;
}

void pra__metrics_request(pra__metrics *m, const pra_exchange_stats *stats, double seconds)
{
    size_t endpoint = (size_t)stats->endpoint < PRA__ENDPOINTS ? (size_t)stats->endpoint : 0;
    pra__endpoint_metrics *e = &m->endpoints[endpoint];
    size_t bucket = 0;
    while (bucket < PRA__BUCKETS - 1 && seconds > bucket_bounds[bucket])
        bucket++;
    pthread_mutex_lock(&m->lock);
    count_outcome(m, stats);
    if (stats->status >= 400 || stats->code) /* a streamed answer has a status before it fails */
        count_refusal(m, pra_error_name(stats->code));
    e->buckets[bucket]++;
    e->count++;
    e->seconds += seconds;
    e->request_bytes += stats->body_bytes;
    e->decoded_bytes += stats->decoded_bytes;
    e->response_bytes += stats->response_bytes;
    e->series += stats->series;
    e->samples += stats->samples;
    e->histograms += stats->histograms;
    e->exemplars += stats->exemplars;
    e->metadata += stats->metadata;
    m->failed_samples += stats->rejected_samples;
    m->failed_series += stats->rejected_series;
    m->queries += stats->queries;
    pthread_mutex_unlock(&m->lock);
}

void pra__metrics_refused(pra__metrics *m, const char *reason)
{
    pthread_mutex_lock(&m->lock);
    count_refusal(m, reason);
    pthread_mutex_unlock(&m->lock);
}

/* ---- text */

static int head(pra_buffer *out, const char *name, const char *type, const char *help)
{
    return pra__print(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static int single(pra_buffer *out, const char *name, const char *type, const char *help,
                  uint64_t value)
{
    int rc = head(out, name, type, help);
    return rc ? rc : pra__print(out, "%s %" PRIu64 "\n", name, value);
}

static const char *version_name(int32_t endpoint, int32_t version)
{
    if (endpoint == PRA_ENDPOINT_WRITE && version >= 0)
        return version == PRA_WRITE_V2 ? "2.0" : "1.0";
    if (endpoint == PRA_ENDPOINT_READ && version >= 0)
        return version == PRA_RESPONSE_SAMPLES ? "samples" : "streamed";
    return "";
}

static int write_requests(const pra__metrics *m, pra_buffer *out)
{
    int rc = head(out, "pra_requests_total", "counter",
                  "Remote write and remote read requests by outcome.");
    for (size_t i = 0; i < PRA__OUTCOMES && m->requests[i].count && !rc; i++) {
        int32_t endpoint = m->requests[i].endpoint;
        rc = pra__print(out,
                        "pra_requests_total{endpoint=\"%s\",version=\"%s\",code=\"%" PRId32
                        "\"} %" PRIu64 "\n",
                        endpoint_names[(size_t)endpoint < PRA__ENDPOINTS ? endpoint : 0],
                        version_name(endpoint, m->requests[i].version), m->requests[i].code,
                        m->requests[i].count);
    }
    if (!rc)
        rc = head(out, "pra_rejected_requests_total", "counter",
                  "Requests answered with 4xx or 5xx, or cut off, by reason.");
    for (size_t i = 0; i < PRA__OUTCOMES && m->refused[i].count && !rc; i++)
        rc = pra__print(out, "pra_rejected_requests_total{reason=\"%s\"} %" PRIu64 "\n",
                        m->refused[i].reason, m->refused[i].count);
    return rc;
}

static int write_histogram(const pra__endpoint_metrics *e, const char *endpoint, pra_buffer *out)
{
    const char *name = "pra_request_duration_seconds";
    uint64_t sum = 0;
    int rc = PRA_OK;
    for (size_t i = 0; i < PRA__BUCKETS - 1 && !rc; i++) {
        sum += e->buckets[i];
        rc = pra__print(out, "%s_bucket{endpoint=\"%s\",le=\"%g\"} %" PRIu64 "\n", name, endpoint,
                        bucket_bounds[i], sum);
    }
    if (!rc)
        rc = pra__print(out,
                        "%s_bucket{endpoint=\"%s\",le=\"+Inf\"} %" PRIu64
                        "\n%s_sum{endpoint=\"%s\"} %.9g\n%s_count{endpoint=\"%s\"} %" PRIu64 "\n",
                        name, endpoint, e->count, name, endpoint, e->seconds, name, endpoint,
                        e->count);
    return rc;
}

/* One counter of every endpoint that has a name. */
static int write_by_endpoint(const pra__metrics *m, pra_buffer *out, const char *name,
                             const char *help, size_t field)
{
    int rc = head(out, name, "counter", help);
    for (size_t i = 1; i < PRA__ENDPOINTS && !rc; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&m->endpoints[i] + field, sizeof(value));
        rc = pra__print(out, "%s{endpoint=\"%s\"} %" PRIu64 "\n", name, endpoint_names[i], value);
    }
    return rc;
}

#define FIELD(name) offsetof(pra__endpoint_metrics, name)

static int write_endpoints(const pra__metrics *m, pra_buffer *out)
{
    int rc = head(out, "pra_request_duration_seconds", "histogram",
                  "Time from the end of a request's headers until its answer stands.");
    for (size_t i = 1; i < PRA__ENDPOINTS && !rc; i++)
        rc = write_histogram(&m->endpoints[i], endpoint_names[i], out);
    if (!rc)
        rc = write_by_endpoint(m, out, "pra_request_bytes_total",
                               "Bytes of request bodies as received.", FIELD(request_bytes));
    if (!rc)
        rc =
            write_by_endpoint(m, out, "pra_decoded_bytes_total",
                              "Bytes of request bodies after decompression.", FIELD(decoded_bytes));
    if (!rc)
        rc = write_by_endpoint(m, out, "pra_response_bytes_total", "Bytes of answer bodies.",
                               FIELD(response_bytes));
    return rc;
}

static int write_data(const pra__metrics *m, pra_buffer *out)
{
    const pra__endpoint_metrics *w = &m->endpoints[PRA_ENDPOINT_WRITE];
    const pra__endpoint_metrics *r = &m->endpoints[PRA_ENDPOINT_READ];
    const struct {
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        {"pra_received_series_total", "Series in write requests.", w->series},
        {"pra_received_samples_total", "Samples in write requests.", w->samples},
        {"pra_received_histograms_total", "Native histograms in write requests.", w->histograms},
        {"pra_received_exemplars_total", "Exemplars in write requests.", w->exemplars},
        {"pra_received_metadata_total", "Metadata entries in write requests.", w->metadata},
        {"pra_failed_samples_total", "Samples received and refused for good.", m->failed_samples},
        {"pra_failed_series_total", "Series refused because of their labels.", m->failed_series},
        {"pra_read_queries_total", "Queries in read requests.", m->queries},
        {"pra_read_series_total", "Series sent in answers to reads.", r->series},
        {"pra_read_samples_total", "Samples sent in answers to reads.", r->samples},
    };
    int rc = PRA_OK;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !rc; i++)
        rc = single(out, rows[i].name, "counter", rows[i].help, rows[i].value);
    return rc;
}

static int write_gauges(pra__metrics *m, uint32_t workers, pra_buffer *out)
{
    int rc = single(out, "pra_remote_read_queries", "gauge", "Read queries in flight.",
                    atomic_load(&m->read_queries));
    if (!rc)
        rc = single(out, "pra_reads_in_flight", "gauge",
                    "Read requests in the storage, or with a streamed answer on its way.",
                    atomic_load(&m->reads));
    if (!rc)
        rc = single(out, "pra_streamed_bytes_total", "counter", "Bytes of streamed answers sent.",
                    atomic_load(&m->streamed_bytes));
    if (!rc)
        rc = single(out, "pra_connections", "gauge", "Open connections.",
                    atomic_load(&m->connections));
    if (!rc)
        rc = single(out, "pra_accepted_connections_total", "counter", "Connections accepted.",
                    atomic_load(&m->accepted));
    if (!rc)
        rc = single(out, "pra_evicted_connections_total", "counter",
                    "Idle connections closed to make room for new ones.", atomic_load(&m->evicted));
    if (!rc)
        rc = single(out, "pra_pending_bytes", "gauge",
                    "Memory of bodies that wait for their end or a worker.",
                    atomic_load(&m->pending_bytes));
    if (!rc)
        rc = single(out, "pra_pending_answer_bytes", "gauge",
                    "Bytes of large answers that wait for their clients to take them.",
                    atomic_load(&m->pending_answer_bytes));
    if (!rc)
        rc = single(out, "pra_workers", "gauge", "Requests that can be in the handler at one time.",
                    workers);
    if (!rc)
        rc = single(out, "pra_workers_busy", "gauge", "Workers in use.",
                    atomic_load(&m->workers_busy));
    if (!rc)
        rc = head(out, "pra_build_info", "gauge", "A metric with the value 1 and the version.");
    if (!rc)
        rc = pra__print(out, "pra_build_info{version=\"%s\"} 1\n", pra_version_cstr());
    return rc;
}

int pra__metrics_write(pra__metrics *m, uint32_t workers, pra_buffer *out)
{
    pthread_mutex_lock(&m->lock);
    int rc = write_requests(m, out);
    if (!rc)
        rc = write_endpoints(m, out);
    if (!rc)
        rc = write_data(m, out);
    pthread_mutex_unlock(&m->lock);
    return rc ? rc : write_gauges(m, workers, out);
}
