/* tests/fuzz/fuzz_rows.c - hostile JSONL rows: read, drawn, made into text. */
#include "fuzz.h"

#include "prompt/rows.h"
#include "stream/cbor.h"
#include "stream/json.h"
#include "text/answer.h"
#include "text/template.h"

/* A row as text in each order of media, and as a record's fields. */
static void use(const struct ral_row *row)
{
    const json_t *messages = json_object_get(row->json, "messages");
    struct ral_buf b = {0};
    const char *at;
    size_t n;

    for (int order = RAL_MEDIA_AS_IS; order <= RAL_MEDIA_LAST; order++) {
        const struct ral_template t = {.prompt_suffix = "\nWhy?",
                                       .media_order = order,
                                       .generation_prompt = true};

        ral_template_render(&t, messages, &b, NULL, NULL);
    }
    ral_template_fill("<answer>{answer}</answer> {choice} {{{a}}}", row->json,
                      &b, NULL);
    ral_answer_extract((char *)b.data, b.len, &at, &n);
    ral_answer_format((char *)b.data, b.len, true);
    ral_cbor_json(&b, row->json);
    ral_buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const char *const where[] = {"category!=x"};
    const char *path = fuzz_file(p, n);
    const struct ral_rows_conf conf[] = {
        {.path = path},
        {.path = path, .where = where, .nwhere = 1, .limit = 3},
        {.path = path, .draw = 4, .step = 2, .seed = 1, .shard = 1,
         .shards = 2},
    };

    for (size_t i = 0; i < sizeof conf / sizeof *conf; i++) {
        struct ral_rows *rows;
        struct ral_row row;

        if (ral_rows_open(&rows, &conf[i], NULL) < 0)
            continue;
        while (ral_rows_next(rows, &row, NULL) > 0)
            use(&row);
        ral_rows_close(rows);
    }
    return 0;
}
