/* SPDX-License-Identifier: Apache-2.0 */
#include "thunk_python.h"

#include <string.h>

/* Label names and most values come again and again. Short ASCII strings are kept in a table, where
 * a newer one takes the place of an older one; the GIL guards it. */
enum { CACHE_SLOTS = 8192, CACHED_MAX = 64 };

static struct slot {
    uint64_t hash;
    PyObject *text;
} cache[CACHE_SLOTS];

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;
    return hash ^ (hash >> 29);
}

static uint64_t hash_bytes(const char *ptr, size_t len)
{
    uint64_t hash = len;
    uint64_t word;
    for (; len > sizeof word; ptr += sizeof word, len -= sizeof word) {
        memcpy(&word, ptr, sizeof word);
        hash = mix(hash, word);
    }
    word = 0;
    memcpy(&word, ptr, len);
    return mix(hash, word);
}

static int is_text(PyObject *text, const char *ptr, size_t len)
{
    return (size_t)PyUnicode_GET_LENGTH(text) == len &&
           memcmp(PyUnicode_1BYTE_DATA(text), ptr, len) == 0;
}

PyObject *pra__py_text(const char *ptr, size_t len)
{
    if (len == 0 || len > CACHED_MAX) {
        return PyUnicode_DecodeUTF8(len ? ptr : "", (Py_ssize_t)len, "surrogateescape");
    }
    uint64_t hash = hash_bytes(ptr, len);
    struct slot *slot = &cache[hash >> 51];
    if (slot->text && slot->hash == hash && is_text(slot->text, ptr, len)) {
        return Py_NewRef(slot->text);
    }
    PyObject *text = PyUnicode_DecodeUTF8(ptr, (Py_ssize_t)len, "surrogateescape");
    if (text && PyUnicode_IS_COMPACT_ASCII(text)) {
        slot->hash = hash;
        Py_XSETREF(slot->text, Py_NewRef(text));
    }
    return text;
}

PyObject *pra__py_str(pra_str str)
{
    return pra__py_text(str.ptr, str.len);
}

int pra__py_utf8(PyObject *object, pra_str *out)
{
    if (!PyUnicode_Check(object)) {
        PyErr_Format(PyExc_TypeError, "expected str, not %.80s", Py_TYPE(object)->tp_name);
        return -1;
    }
    Py_ssize_t len;
    out->ptr = PyUnicode_AsUTF8AndSize(object, &len);
    out->len = out->ptr ? (size_t)len : 0;
    return out->ptr ? 0 : -1;
}

static int labels_push(pra__py_labels *labels, PyObject *name, PyObject *value)
{
    if (labels->count == labels->cap) {
        size_t cap = labels->cap ? labels->cap * 2 : 16;
        pra_label *items = PyMem_Realloc(labels->items, cap * sizeof *items);
        if (!items) {
            PyErr_NoMemory();
            return -1;
        }
        labels->items = items;
        labels->cap = cap;
    }
    pra_label *label = &labels->items[labels->count];
    if (pra__py_utf8(name, &label->name) || pra__py_utf8(value, &label->value)) {
        return -1;
    }
    labels->count++;
    return 0;
}

static int labels_set_mapping(pra__py_labels *labels, PyObject *mapping)
{
    labels->keep = PyMapping_Items(mapping);
    if (!labels->keep && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Format(PyExc_TypeError, "labels must be a mapping, not %.80s",
                     Py_TYPE(mapping)->tp_name);
    }
    for (Py_ssize_t i = 0; labels->keep && i < PyList_GET_SIZE(labels->keep); i++) {
        PyObject *pair = PyList_GET_ITEM(labels->keep, i);
        if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
            PyErr_SetString(PyExc_TypeError, "items() of labels must give pairs");
            return -1;
        }
        if (labels_push(labels, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1))) {
            return -1;
        }
    }
    return labels->keep ? 0 : -1;
}

int pra__py_labels_set(pra__py_labels *labels, PyObject *mapping)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    labels->count = 0;
    Py_CLEAR(labels->keep);
    if (!PyDict_Check(mapping)) {
        return labels_set_mapping(labels, mapping);
    }
    while (PyDict_Next(mapping, &position, &name, &value)) {
        if (labels_push(labels, name, value)) {
            return -1;
        }
    }
    return 0;
}

void pra__py_labels_fini(pra__py_labels *labels)
{
    PyMem_Free(labels->items);
    Py_CLEAR(labels->keep);
}
