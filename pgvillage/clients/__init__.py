"""Everything that touches the world. Nothing here decides; nothing above imports these libraries itself."""
