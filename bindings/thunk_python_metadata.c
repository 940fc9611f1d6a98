/* SPDX-License-Identifier: Apache-2.0 */
#include "thunk_python_write.h"

static PyStructSequence_Field metadata_fields[] = {
    {"type", "'counter', 'gauge', 'histogram', …, or 'unknown'."},
    {"family", "Name of the metric family; '' in remote write 2.0, which describes series."},
    {"help", "What it means."},
    {"unit", "Unit, or ''."},
    {"series", "Index of the series described (2.0), or None."},
    {NULL, NULL},
};
static PyStructSequence_Desc metadata_desc = {"prom_remote_api.Metadata",
                                              "What a sender says about a metric family.",
                                              metadata_fields, 4}; /* series is an attribute only */
static PyTypeObject *metadata_type;                                /* made once a process */

static PyObject *text_of(const char *base, pra_span span)
{
    return pra__py_text(base + span.off, span.len);
}

static PyObject *metadata_series(const pra_metadata *metadata)
{
    return metadata->series == UINT32_MAX ? Py_NewRef(Py_None)
                                          : PyLong_FromUnsignedLong(metadata->series);
}

PyObject *pra__py_metadata_entry(const pra_columns *columns, size_t index)
{
    static const char *const types[] = {"unknown",        "counter", "gauge", "histogram",
                                        "gaugehistogram", "summary", "info",  "stateset"};
    const pra_metadata *metadata = &columns->metadata[index];
    const char *base = columns->base;
    size_t type = (size_t)metadata->type;
    PyObject *entry = PyStructSequence_New(metadata_type);
    if (!entry) {
        return NULL;
    }
    type = type < sizeof types / sizeof *types ? type : 0;
    PyStructSequence_SetItem(entry, 0, PyUnicode_FromString(types[type]));
    PyStructSequence_SetItem(entry, 1, text_of(base, metadata->family));
    PyStructSequence_SetItem(entry, 2, text_of(base, metadata->help));
    PyStructSequence_SetItem(entry, 3, text_of(base, metadata->unit));
    PyStructSequence_SetItem(entry, 4, metadata_series(metadata));
    if (PyErr_Occurred()) {
        Py_CLEAR(entry);
    }
    return entry;
}

int pra__py_metadata_init(PyObject *module)
{
    if (!metadata_type) {
        metadata_type = PyStructSequence_NewType(&metadata_desc);
    }
    return metadata_type ? PyModule_AddType(module, metadata_type) : -1;
}
