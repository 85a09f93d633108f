"""Masked CRC-32C, the checksum in TFRecord files and TensorFlow's checkpoints.

    crc32c(b"123456789")  ->  0xE3069283        masked  ->  0xC78AB0E5, which is what the files store

CRC-32C (Castagnoli): RFC 3720, appendix B.4. Masking: TensorFlow's tsl/lib/hash/crc32c.h.
"""

from pipeline.engine.integrity import crc32c


def masked_crc32c(data: bytes | memoryview) -> int:
    """Return the checksum as files store it: rotated right by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
