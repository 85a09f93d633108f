"""TFRecord files of BERT's and NEZHA's pretraining examples: imported as shards and exported from them, without TensorFlow.

checksum.py         masked CRC-32C
tfrecord.py         records and their checksums; the tf.train.Example message in each
bert_examples.py    input_ids, masked_lm_positions, ... <-> the columns of a shard
exchange.py         whole files: `import_tfrecords`, a stage like any other that makes shards, and `export_tfrecords`
"""
