/* lib/job/reward.c - ral-reward: read rollouts, write them scored. */
#include "job/reward.h"

#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/version.h"
#include "job/common.h"
#include "reward/rules.h"
#include "rl/advantage.h"
#include "stream/cbor.h"
#include "stream/edit.h"
#include "stream/header.h"
#include "stream/reader.h"
#include "stream/writer.h"

/* Running mean and sum of squares: B. P. Welford, Technometrics 4, 1962. */
struct spread {
    double mean, square;
    size_t n;
};

struct tally {
    size_t records, failed, flat; // flat: all its rewards are equal
    struct spread reward;
    double rule[RAL_RULES_MAX]; // sums
    char first[300];            // the first failure
};

struct job {
    const struct ral_reward_job *set;
    const struct ral_log *log;
    struct ral_rule_set rules;
    enum ral_scale scale;
    struct tally tally;
    struct ral_arena a; // of a record
    struct ral_buf out; // the record as it is written
};

/* A sample's new values. */
struct score {
    double value[RAL_RULES_MAX], reward, advantage;
    const char *error; // NULL: scored
};

static void spread_add(struct spread *s, double x)
{
    const double d = x - s->mean;

    s->mean += d / (double)++s->n;
    s->square += d * (x - s->mean);
}

static double spread_std(const struct spread *s)
{
    return s->n > 1 ? sqrt(s->square / (double)(s->n - 1)) : 0;
}

static int no_memory(struct ral_err *err)
{
    return ral_err_set(err, -RAL_ENOMEM, "out of memory");
}

/* ---- reading what the rules need ---- */

/* The choices where all are texts; otherwise none. */
static int read_choices(struct ral_answer *answer, const struct ral_item *list,
                        struct ral_arena *a, struct ral_err *err)
{
    const char **choice;

    if (!list || list->type != RAL_ITEM_ARRAY)
        return 0;
    for (size_t i = 0; i < list->n; i++)
        if (list->child[i].type != RAL_ITEM_TEXT)
            return 0;
    if (!(choice = RAL_NEW(a, const char *, list->n + 1)))
        return no_memory(err);
    for (size_t i = 0; i < list->n; i++) {
        const int rc =
            ral_item_string(&list->child[i], "choices", a, &choice[i], err);

        if (rc < 0)
            return rc;
    }
    answer->choice = choice;
    answer->choices = list->n;
    return 0;
}

static int read_row(struct ral_answer *answer, const struct ral_item *rec,
                    struct ral_arena *a, struct ral_err *err)
{
    const struct ral_item *ref = ral_item_get(rec, "answer");

    *answer = (struct ral_answer){0};
    if (ref && ref->type == RAL_ITEM_TEXT) {
        answer->ref = ref->text;
        answer->ref_len = ref->n;
    }
    return read_choices(answer, ral_item_get(rec, "choices"), a, err);
}

/* ---- scoring one record ---- */

static int score_sample(struct job *j, struct ral_answer *answer,
                        const struct ral_item *sample, struct score *s,
                        struct ral_err *err)
{
    struct ral_err why = {0};
    int rc = ral_item_text(ral_item_get(sample, "text"), "text", &answer->text,
                           &answer->len, err);

    if (rc < 0)
        return rc;
    if (ral_reward_score(&j->rules, answer, s->value, &s->reward, &why) < 0) {
        s->error = ral_arena_text(&j->a, why.msg, strlen(why.msg));
        return s->error ? 0 : no_memory(err);
    }
    s->error = NULL;
    if (isfinite(s->reward))
        return 0;
    for (size_t i = 0; i < j->rules.n; i++)
        if (!isfinite(s->value[i]))
            return ral_err_set(err, -RAL_EINVAL, "rule %s gives %g",
                               j->rules.rule[i]->name, s->value[i]);
    return ral_err_set(err, -RAL_EINVAL, "the reward is %g", s->reward);
}

/* Against the samples that could be scored; the others have no part. */
static int advantages(struct job *j, struct score *s, size_t G,
                      struct ral_err *err)
{
    double *r = RAL_NEW(&j->a, double, G + 1);
    // the batch's deviation comes later, in the second pass
    const enum ral_scale scale =
        j->scale == RAL_SCALE_BATCH ? RAL_SCALE_NONE : j->scale;
    size_t n = 0;
    bool flat = true;

    if (!r)
        return no_memory(err);
    for (size_t i = 0; i < G; i++)
        if (!s[i].error)
            r[n++] = s[i].reward;
    for (size_t i = 1; i < n; i++)
        flat &= r[i] == r[0];
    j->tally.flat += n > 0 && flat;
    ral_advantage(scale, 1, &n, r, r);
    n = 0;
    for (size_t i = 0; i < G; i++)
        if (!s[i].error)
            s[i].advantage = r[n++];
    return 0;
}

static void count(struct tally *t, const struct ral_rule_set *rules,
                  const struct score *s, size_t G, const char *id)
{
    const char *error = NULL;

    for (size_t i = 0; i < G; i++) {
        if (s[i].error) {
            error = error ? error : s[i].error;
            continue;
        }
        spread_add(&t->reward, s[i].reward);
        for (size_t k = 0; k < rules->n; k++)
            t->rule[k] += s[i].value[k];
    }
    if (!error)
        return;
    if (t->failed++ == 0)
        snprintf(t->first, sizeof t->first, "record %s: %s", id, error);
}

/* {name: value} of the rules, or a text, encoded in the arena. */
static int encode(struct job *j, const struct score *s, struct ral_edit *e,
                  struct ral_err *err)
{
    struct ral_buf b = {0};
    uint8_t *copy = NULL;
    int rc = 0;

    if (s->error) {
        rc = ral_cbor_text_lossy(&b, s->error, strlen(s->error));
    } else {
        rc = ral_cbor_map(&b, j->rules.n);
        for (size_t i = 0; i < j->rules.n; i++) {
            rc |= ral_cbor_key(&b, j->rules.rule[i]->name);
            rc |= ral_cbor_double(&b, s->value[i]);
        }
    }
    if (rc == 0 && (copy = ral_arena_alloc(&j->a, b.len, 1))) {
        memcpy(copy, b.data, b.len);
        e->type = RAL_EDIT_RAW;
        e->raw = copy;
        e->raw_len = b.len;
    }
    ral_buf_release(&b);
    return copy ? 0 : no_memory(err);
}

enum { REWARDS, REWARD, ADVANTAGE, STATUS, ERROR, EDITS };

/* A failed sample keeps no number of an earlier run. */
static int edit(struct job *j, const struct score *s, struct ral_edit *e,
                struct ral_err *err)
{
    static const char *const key[EDITS] = {"rewards", "reward", "advantage",
                                           "status", "error"};

    for (size_t i = 0; i < EDITS; i++)
        e[i] = (struct ral_edit){.key = key[i], .type = RAL_EDIT_DROP};
    e[STATUS].type = RAL_EDIT_TEXT;
    e[STATUS].text = s->error ? "failed" : "ok";
    if (!s->error) {
        e[REWARD].type = e[ADVANTAGE].type = RAL_EDIT_F64;
        e[REWARD].num = s->reward;
        e[ADVANTAGE].num = s->advantage;
    }
    return encode(j, s, &e[s->error ? ERROR : REWARDS], err);
}

static int rewrite(struct job *j, const struct ral_item *rec,
                   const struct score *s, size_t G, struct ral_err *err)
{
    struct ral_edits *sample = RAL_NEW(&j->a, struct ral_edits, G + 1);
    struct ral_edit *e = RAL_NEW(&j->a, struct ral_edit, G * EDITS + 1);
    int rc;

    if (!sample || !e)
        return no_memory(err);
    for (size_t i = 0; i < G; i++) {
        sample[i] = (struct ral_edits){e + i * EDITS, EDITS};
        if ((rc = edit(j, &s[i], e + i * EDITS, err)) < 0)
            return rc;
    }
    return ral_record_replace(&j->out, rec, (struct ral_edits){0}, sample, G,
                              err);
}

static int score_samples(struct job *j, const struct ral_item *rec,
                         const char *id, struct ral_err *err)
{
    const struct ral_item *list = ral_item_get(rec, "samples");
    struct ral_answer answer;
    struct score *s;
    int rc;

    if (!list || list->type != RAL_ITEM_ARRAY)
        return ral_err_set(err, -RAL_EINVAL, "samples is no list");
    if (!(s = RAL_ZNEW(&j->a, struct score, list->n + 1)))
        return no_memory(err);
    if ((rc = read_row(&answer, rec, &j->a, err)) < 0)
        return rc;
    for (size_t i = 0; i < list->n; i++)
        if ((rc = score_sample(j, &answer, &list->child[i], &s[i], err)) < 0)
            return ral_err_at(err, "samples[%zu]", i);
    if ((rc = advantages(j, s, list->n, err)) < 0)
        return rc;
    count(&j->tally, &j->rules, s, list->n, id);
    return rewrite(j, rec, s, list->n, err);
}

static bool is_ok(const struct ral_item *rec)
{
    const struct ral_item *status = ral_item_get(rec, "status");

    return !status || ral_item_is(status, "ok");
}

static int copy(struct job *j, const struct ral_item *rec, struct ral_err *err)
{
    if (ral_buf_put(&j->out, rec->raw, rec->raw_len) < 0)
        return no_memory(err);
    return 0;
}

/* Leaves the record as it is to be written in j->out. */
static int score_record(struct job *j, const struct ral_item *rec,
                        struct ral_err *err)
{
    const char *id;
    int rc = ral_item_string(ral_item_get(rec, "id"), "a record's id", &j->a,
                             &id, err);

    if (rc < 0)
        return rc;
    j->tally.records++;
    if (is_ok(rec)) {
        if ((rc = score_samples(j, rec, id, err)) < 0)
            return ral_err_at(err, "record %s", id);
        return rc;
    }
    if (j->tally.failed++ == 0)
        snprintf(j->tally.first, sizeof j->tally.first,
                 "record %s had failed before", id);
    return copy(j, rec, err);
}

/* The second pass of batch scaling: centred rewards become advantages. */
static int scale_record(struct job *j, const struct ral_item *rec,
                        struct ral_err *err)
{
    const double divisor = spread_std(&j->tally.reward) + RAL_ADVANTAGE_EPS;
    const struct ral_item *list = ral_item_get(rec, "samples");
    const size_t G = list ? list->n : 0;
    struct ral_edits *sample = RAL_ZNEW(&j->a, struct ral_edits, G + 1);
    struct ral_edit *e = RAL_ZNEW(&j->a, struct ral_edit, G + 1);

    if (!sample || !e)
        return no_memory(err);
    if (!ral_item_is(ral_item_get(rec, "status"), "ok"))
        return ral_buf_put(&j->out, rec->raw, rec->raw_len) < 0 ? no_memory(err)
                                                                : 0;
    for (size_t i = 0; i < G; i++) {
        const struct ral_item *adv = ral_item_get(&list->child[i], "advantage");

        if (!adv)
            continue; // failed
        e[i] = (struct ral_edit){
            .key = "advantage", .type = RAL_EDIT_F64, .num = adv->f / divisor};
        sample[i] = (struct ral_edits){&e[i], 1};
    }
    return ral_record_replace(&j->out, rec, (struct ral_edits){0}, sample, G,
                              err);
}

/* ---- streams ---- */

typedef int record_fn(struct job *j, const struct ral_item *rec,
                      struct ral_err *err);

/* Every record of r through fn to w, and its end mark. */
static int pass(struct job *j, struct ral_reader *r, struct ral_writer *w,
                record_fn *fn, struct ral_progress *p, struct ral_err *err)
{
    struct ral_item *rec;
    int rc;

    for (;;) {
        ral_arena_reset(&j->a);
        j->out.len = 0;
        if ((rc = ral_reader_next(r, &j->a, &rec, err)) <= 0)
            return rc;
        if ((rc = fn(j, rec, err)) < 0)
            return ral_err_at(err, "%s", ral_reader_name(r));
        if ((rc = ral_writer_put(w, j->out.data, j->out.len, err)) < 0)
            return rc;
        if (p)
            ral_progress_add(p, 1);
    }
}

static int make_header(const struct job *j, const struct ral_reader *r,
                       bool keep_shard, struct ral_buf *out,
                       struct ral_err *err)
{
    const struct ral_provenance who = {.program = "ral-reward",
                                       .version = RAL_VERSION,
                                       .args = j->set->args,
                                       .n_args = j->set->n_args};

    return ral_header_derive(ral_reader_header(r), out, &who,
                             (struct ral_edits){0}, keep_shard, err);
}

/* All records of from to fd, under the header that origin's leads to. */
static int filter(struct job *j, const struct ral_reader *origin,
                  bool keep_shard, struct ral_reader *from, record_fn *fn,
                  int fd, const char *name, struct ral_progress *p,
                  struct ral_err *err)
{
    struct ral_buf header = {0};
    struct ral_writer *w = NULL;
    int rc = make_header(j, origin, keep_shard, &header, err);

    if (rc == 0)
        rc = ral_writer_open(&w, fd, name, 1, err);
    if (rc == 0)
        rc = ral_writer_header(w, header.data, header.len, err);
    ral_buf_release(&header);
    if (rc == 0 && (rc = pass(j, from, w, fn, p, err)) == 0)
        return ral_writer_finish(w, err);
    ral_writer_abort(w);
    return rc;
}

/* A file that is gone when it is closed. */
static int spool_open(struct ral_err *err)
{
    const char *dir = getenv("TMPDIR");
    char *path = ral_path_join(dir && *dir ? dir : "/tmp", "ral-reward-XXXXXX");
    int fd;

    if (!path)
        return no_memory(err);
    if ((fd = mkostemp(path, O_CLOEXEC)) < 0)
        fd = ral_err_errno(err, "%s: cannot make a temporary file", path);
    else
        unlink(path);
    free(path);
    return fd;
}

/*
 * Two passes, for what only the end of the input tells: the deviation of all
 * rewards, or whether one shard came alone and must stay one.
 */
static int filter_twice(struct job *j, struct ral_reader *r, int fd,
                        const char *name, struct ral_progress *p,
                        struct ral_err *err)
{
    static const char spooled[] = "the temporary file";
    record_fn *second = j->scale == RAL_SCALE_BATCH ? scale_record : copy;
    struct ral_reader *again = NULL;
    const int spool = spool_open(err);
    int rc;

    if (spool < 0)
        return spool;
    ral_reader_allow_part(r);
    rc = filter(j, r, true, r, score_record, spool, spooled, p, err);
    if (rc == 0 && lseek(spool, 0, SEEK_SET) < 0)
        rc = ral_err_errno(err, "%s", spooled);
    if (rc == 0)
        rc = ral_reader_open(&again, spool, spooled, SIZE_MAX, err);
    if (rc == 0) {
        ral_reader_allow_part(again);
        rc = filter(j, r, ral_reader_is_part(r), again, second, fd, name, NULL,
                    err);
    }
    ral_reader_close(again);
    close(spool);
    return rc;
}

/* ---- the job ---- */

static int use_rules(struct job *j, const struct ral_weights *w,
                     struct ral_err *err)
{
    int rc;

    if (!w->n)
        ral_rule_set_default(&j->rules);
    for (size_t i = 0; i < w->n; i++)
        if ((rc = ral_rule_set_add(&j->rules, w->name[i], w->value[i], err)) <
            0)
            return rc;
    return 0;
}

static int metrics(const struct job *j, uint64_t step, struct ral_err *err)
{
    const struct tally *t = &j->tally;
    struct ral_metrics m;
    json_t *obj, *each;
    int rc = ral_metrics_open(&m, j->set->log, err);

    if (rc < 0)
        return rc;
    obj = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "program",
                    "ral-reward", "step", (json_int_t)step, "records",
                    (json_int_t)t->records, "failed", (json_int_t)t->failed,
                    "flat", (json_int_t)t->flat, "samples",
                    (json_int_t)t->reward.n, "reward",
                    ral_json_number(t->reward.n ? t->reward.mean : NAN),
                    "reward_std", ral_json_number(spread_std(&t->reward)));
    each = json_object();
    for (size_t i = 0; i < j->rules.n; i++)
        json_object_set_new(each, j->rules.rule[i]->name,
                            ral_json_number(t->rule[i] / (double)t->reward.n));
    json_object_set_new(obj, "rewards", each);
    rc = ral_metrics_put(&m, obj, err);
    ral_metrics_close(&m);
    return rc;
}

static void summary(const struct job *j)
{
    const struct tally *t = &j->tally;

    ral_info(j->log,
             "%zu records, %zu samples, mean reward %.4f; %zu of equal "
             "rewards, %zu failed",
             t->records, t->reward.n, t->reward.mean, t->flat, t->failed);
    for (size_t i = 0; i < j->rules.n && t->reward.n; i++)
        ral_debug(j->log, "%s %.4f, weight %g", j->rules.rule[i]->name,
                  t->rule[i] / (double)t->reward.n, j->rules.weight[i]);
}

static int check_failed(const struct job *j, struct ral_err *err)
{
    const struct tally *t = &j->tally;

    if ((double)t->failed <= j->set->max_failed * (double)t->records) {
        if (t->failed)
            ral_warn(j->log, "%zu of %zu records failed; the first: %s",
                     t->failed, t->records, t->first);
        return 0;
    }
    return ral_err_set(err, -RAL_ECHECK,
                       "%zu of %zu records failed, more than --max-failed %g; "
                       "the first: %s",
                       t->failed, t->records, j->set->max_failed, t->first);
}

static int run(struct job *j, struct ral_reader *r, struct ral_out *out,
               struct ral_err *err)
{
    const char *name = j->set->out ? j->set->out : "stdout";
    const bool twice =
        j->scale == RAL_SCALE_BATCH || ral_reader_info(r)->shards > 1;
    struct ral_progress p;
    int rc;

    ral_progress_begin(&p, j->log, "scoring", "records", 0);
    if (twice)
        rc = filter_twice(j, r, out->fd, name, &p, err);
    else
        rc = filter(j, r, false, r, score_record, out->fd, name, &p, err);
    ral_progress_end(&p);
    return rc;
}

int ral_reward_run(const struct ral_reward_job *job, char *const *path,
                   size_t n, const struct ral_log *log, struct ral_err *err)
{
    struct job j = {
        .set = job, .log = log, .scale = (enum ral_scale)job->scale};
    struct ral_reader *r = NULL;
    struct ral_out out;
    uint64_t step;
    int rc;

    if ((rc = use_rules(&j, &job->weights, err)) < 0)
        return rc;
    if ((rc = ral_reader_open_files(&r, path, n, job->max_record, err)) < 0)
        return rc;
    step = ral_reader_info(r)->step;
    if ((rc = ral_out_open(&out, job->out, err)) == 0) {
        if ((rc = run(&j, r, &out, err)) == 0)
            rc = ral_out_finish(&out, err);
        else
            ral_out_abort(&out);
    }
    ral_reader_close(r);
    ral_arena_release(&j.a);
    ral_buf_release(&j.out);
    if (rc < 0 || (rc = metrics(&j, step, err)) < 0)
        return rc;
    summary(&j);
    return check_failed(&j, err);
}
