"""Fonts with Chinese, Japanese and Korean characters, for the report on paper and for pictures."""

# As systems name them, in the order in which they are taken.
CJK = (
    *("Noto Serif CJK TC", "Noto Serif TC", "Source Han Serif TC", "Songti TC", "PMingLiU", "MingLiU"),
    *("Noto Sans CJK TC", "Noto Sans TC", "Source Han Sans TC", "PingFang TC", "Microsoft JhengHei", "Heiti TC"),
    *("Noto Serif CJK JP", "Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei"),
    *("AR PL UMing TW", "AR PL UKai TW", "Hiragino Sans", "Yu Gothic", "Malgun Gothic", "SimSun", "Unifont"),
)
INSTALL = "install one that can (Debian: apt-get install fonts-noto-cjk)"
