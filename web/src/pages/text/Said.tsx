import { Tooltip } from 'antd';
import { useMemo } from 'react';
import css from './said.module.css';
import { visible } from './visible';

/** What a device, a commit or a person wrote: as text, with signs for what could not be seen. `lines`: line ends are kept. */
export function Said({ text, lines = false }: { text: string | null | undefined; lines?: boolean }) {
  const pieces = useMemo(() => visible(text, lines), [text, lines]);
  return (
    // A text of its own: one that is written from right to left does not turn around what stands beside it.
    <bdi className={lines ? `${css.said} ${css.lines}` : css.said}>
      {pieces.map((piece, at) =>
        piece.sign === undefined ? (
          piece.text
        ) : (
          <Tooltip key={at} title={piece.sign}>
            <span className={css.unseen}>{piece.text}</span>
          </Tooltip>
        ),
      )}
    </bdi>
  );
}
