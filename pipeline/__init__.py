"""Raw corpora to training shards. Folders in the order of the data, with one sentence on its way through them:

    sources/        {"title": "外宾来访", "content": "<p>国家主席在北京会见外宾。</p>"}    records of files
    wiki/           '''柏林'''是[[德國]]首都。  ->  柏林是德国首都。                       pages of a dump
    cleaning/       国家主席在北京会见外宾。                                           no markup, no invisible characters
    documents/      id 7f3a..., 12 characters, chinese_share 0.92                      stage: Parquet, sorted by id
    dedup/          kept                                                             stages: filters, duplicates, contamination
    tokenization/   国家|主席|在|北京|会见|外宾|。  ->  国 家 主 席 在 北 京 会 见 外 宾 。    stages: vocabulary, tokens
    examples/       [CLS] 国 家 主 席 在 [MASK] [MASK] 会 见 外 宾 。 [SEP] ...          stage: Arrow shards of masked pairs
    checks/         verify: files on disk against the rules of their stage
    tfrecords/      the same examples as TFRecord files of BERT, read and written

engine/ runs all of it: what a stage is, jobs of map and reduce steps, Beam, processes. Each stage is a module of its folder,
most of them called `stage`.

Modules at the top, used by all folders:

compression.py  gz, bz2, xz, zst and zip by their first bytes, decompressed as a stream
storage.py      local and remote file systems; every read and write goes through it
conditional.py  files that are written only if nobody else was faster
leases.py       locks on object stores
locks.py        one process at a time in an output folder
config.py       the settings of data preparation, checked
validation.py   checks of types and ranges of settings
folders.py      what a folder is, for errors that say what was given instead
redaction.py    URLs without their secrets, text without control characters: what may be shown
credentials.py  keys and tokens in errors, stack traces and logs
errors.py       errors that a user can fix, as one-line messages
storage_errors.py   errors of file systems as such messages
storage_retries.py  a store that is away for a while is tried again
facts.py        what the manifests of stages say, as typed views
arrays.py       names of numpy array types, and integer helpers
"""
