/** Colours and measures: calm, dense, precise. One accent (the keel's teal), and four colours that mean something. */
import { type ThemeConfig, theme } from 'antd';

export type ThemeChoice = 'light' | 'dark' | 'system';

const SHARED: ThemeConfig['token'] = {
  fontFamily: `'Inter Variable', Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', 'Noto Sans SC', sans-serif`,
  fontFamilyCode: `ui-monospace, 'SF Mono', 'JetBrains Mono', Menlo, Consolas, 'Liberation Mono', 'DejaVu Sans Mono', monospace`,
  fontSize: 13,
  borderRadius: 6,
  controlHeight: 30,
  wireframe: false,
  motionDurationMid: '0.12s',
  motionDurationSlow: '0.16s',
};

const LIGHT: ThemeConfig['token'] = {
  colorPrimary: '#0b6e6e',
  colorInfo: '#1f5fbf',
  colorLink: '#0a6464',
  colorSuccess: '#1b7f3c',
  colorWarning: '#9a5b00',
  colorError: '#c0232c',
  // antd derives these from the colours above, which are dark enough to be read as text: that makes mud.
  colorPrimaryBg: '#e2f1ef', colorPrimaryBgHover: '#d3e9e6', colorPrimaryBorder: '#9fcfca',
  colorSuccessBg: '#e6f4ea', colorSuccessBorder: '#a9d8b8',
  colorWarningBg: '#fdf4e3', colorWarningBorder: '#ecd09a',
  colorErrorBg: '#fdeeee', colorErrorBorder: '#f0b8b8',
  colorInfoBg: '#edf3fd', colorInfoBorder: '#b5cdf3',
  colorBgLayout: '#f5f7f8',
  colorBorderSecondary: '#e3e8ea',
  colorTextSecondary: '#4c585e',
  colorTextTertiary: '#5d6a70',
  colorTextDescription: '#5d6a70',
  colorTextPlaceholder: '#6b777d',
};

const DARK: ThemeConfig['token'] = {
  colorPrimary: '#23857e',
  colorInfo: '#6ea8ff',
  colorLink: '#5cc9bf',
  colorSuccess: '#4cc274',
  colorWarning: '#e0a53d',
  colorError: '#ff7a75',
  colorPrimaryBg: '#143130', colorPrimaryBgHover: '#1a3f3d', colorPrimaryBorder: '#1f5a55',
  colorSuccessBg: '#14301f', colorSuccessBorder: '#1f5132',
  colorWarningBg: '#2c220f', colorWarningBorder: '#5b4416',
  colorErrorBg: '#34191b', colorErrorBorder: '#662c2e',
  colorInfoBg: '#152744', colorInfoBorder: '#24447a',
  colorBgBase: '#0f1517',
  colorBgLayout: '#0b1012',
  colorBgContainer: '#131b1e',
  colorBgElevated: '#1a2427',
  colorBorderSecondary: '#243034',
  colorBorder: '#33434a',
  colorTextSecondary: '#b2bfc4',
  colorTextTertiary: '#93a2a8',
  colorTextDescription: '#93a2a8',
  colorTextPlaceholder: '#819097',
};

export function themeOf(dark: boolean): ThemeConfig {
  return {
    algorithm: dark ? [theme.darkAlgorithm] : [theme.defaultAlgorithm],
    cssVar: { prefix: 'ek' },
    hashed: false,
    token: { ...SHARED, ...(dark ? DARK : LIGHT) },
    components: {
      // In the dark these colours are light ones, so what stands on them is dark.
      ...(dark && { Button: { dangerColor: '#1b0808' } }),
      Layout: { headerHeight: 48, headerPadding: '0 16px' },
      Menu: { ...(dark && { itemSelectedColor: '#7fdcd2' }), itemHeight: 34, iconSize: 15, itemMarginInline: 8 },
      Table: { cellPaddingBlockSM: 6, cellPaddingInlineSM: 10, headerBorderRadius: 6 },
      Card: { headerHeight: 42, bodyPadding: 16, headerPadding: 16 },
      Tabs: { ...(dark && { itemSelectedColor: '#7fdcd2', itemHoverColor: '#a5ece4', inkBarColor: '#2fa8a0' }), horizontalMargin: '0 0 12px 0' },
    },
  };
}
